//! The product as a whole: a real node, a guest with containerd and a kubelet, where operator and probe run as
//! the chart's pods, and other pods do what watches are for.

pub mod place;
pub mod pods;
pub mod scenarios;
pub mod webhook;

use std::time::Duration;

use crate::Result;
use crate::wait::until_every;

/// Looks once a second: the emulated node needs the processors more than the one who looks.
///
/// # Errors
/// As [`crate::wait::until`].
pub async fn until<T, F>(what: &str, within: Duration, look: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    until_every(Duration::from_secs(1), what, within, look).await
}
