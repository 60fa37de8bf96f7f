//! Runs scenarios one after the other and counts them: they share one cluster and one operator, and some
//! of them take those away.

use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;

use crate::installation::Installation;
use crate::parseable::Parseable;
use crate::{Error, Result};

/// What scenarios share.
#[allow(missing_debug_implementations, reason = "a client has none")]
pub struct Context {
    installation: Installation,
    pub parseable: Parseable,
}

impl Context {
    /// Starts everything, telling what it does.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start() -> Result<Self> {
        Ok(Self {
            parseable: Parseable::start(&[]).await?,
            installation: Installation::start().await?,
        })
    }

    /// Ends the cluster.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn stop(self) -> Result {
        self.installation.cluster.stop().await
    }
}

impl std::ops::Deref for Context {
    type Target = Installation;

    fn deref(&self) -> &Installation {
        &self.installation
    }
}

/// Where scenarios take place.
pub trait Ground {
    /// Longest time for one scenario.
    const LIMIT: Duration;

    /// Brings back what a scenario may have taken away.
    ///
    /// # Errors
    /// It does not come back.
    fn mend(&self) -> impl Future<Output = Result>;
}

impl Ground for Context {
    const LIMIT: Duration = Duration::from_secs(240);

    async fn mend(&self) -> Result {
        self.start_operator()
            .await
            .map_err(|e| format!("the operator does not start again: {e}").into())
    }
}

/// One scenario.
pub struct Scenario<G = Context> {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// Fails with what was seen instead.
    pub run: for<'a> fn(&'a G) -> LocalBoxFuture<'a, Result>,
}

impl<G> std::fmt::Debug for Scenario<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A list of [`Scenario`]s from async functions that take the [`Ground`] they take place on.
#[macro_export]
macro_rules! scenarios {
    ($($name:literal => $function:path),+ $(,)?) => {
        &[$($crate::scenario::Scenario {
            name: $name,
            run: |context| Box::pin($function(context)),
        }),+]
    };
}

/// Runs those whose name contains one of `filters`, or all where there is none, and says how many passed and failed.
pub async fn run<G: Ground>(
    ground: &G,
    scenarios: &[&[Scenario<G>]],
    filters: &[String],
) -> (usize, usize) {
    let (mut passed, mut failed) = (0, 0);
    for scenario in scenarios.iter().copied().flatten() {
        if !filters.is_empty() && !filters.iter().any(|filter| scenario.name.contains(filter)) {
            continue;
        }
        let started = Instant::now();
        let outcome = tokio::time::timeout(G::LIMIT, (scenario.run)(ground)).await;
        let late = |_| Err(Error::from(format!("not within {:?}", G::LIMIT)));
        let outcome = outcome.unwrap_or_else(late);
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("ok      {seconds:5.1} s  {}", scenario.name);
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {seconds:5.1} s  {}\n        {error}", scenario.name);
            }
        }
        if let Err(error) = ground.mend().await {
            println!("        {error}");
        }
    }
    (passed, failed)
}
