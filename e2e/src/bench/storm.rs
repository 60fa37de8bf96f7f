//! The storm programs: `e2e/bench/*.c`, compiled for this machine and, being static, for every guest.

use std::path::PathBuf;
use std::process::Command;

use super::{BenchError, folder, io};

/// The compiled programs; gone with this value.
#[derive(Debug)]
pub struct Programs {
    /// Repeats an operation and prints how long it took.
    pub storm: PathBuf,
    /// Does nothing.
    pub nop: PathBuf,
    _folder: tempfile::TempDir,
}

impl Programs {
    /// Compiles both.
    ///
    /// # Errors
    /// There is no C compiler or no static C library.
    pub fn compile() -> Result<Self, BenchError> {
        let into = tempfile::tempdir().map_err(io("temporary folder"))?;
        let compile = |program: &'static str| {
            let path = into.path().join(program);
            let output = Command::new("cc")
                .args(["-O2", "-static", "-o"])
                .arg(&path)
                .arg(folder().join(format!("{program}.c")))
                .output()
                .map_err(io("cc"))?;
            if output.status.success() {
                return Ok(path);
            }
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(BenchError::Compile { program, output })
        };
        Ok(Self { storm: compile("storm")?, nop: compile("nop")?, _folder: into })
    }

    /// Runs a storm on this machine.
    ///
    /// # Errors
    /// It fails, or prints no figures.
    pub fn run(&self, operation: &str, count: u32, what: &str) -> Result<Storm, BenchError> {
        let output = Command::new(&self.storm)
            .args([operation, &count.to_string(), what])
            .output()
            .map_err(io("storm"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(BenchError::Failed {
                what: format!("storm {operation}"),
                status: output.status.to_string(),
                output: String::from_utf8_lossy(&output.stderr).into_owned(),
            });
        }
        text.lines().find_map(Storm::parse).ok_or(BenchError::NoFigures(text))
    }
}

/// What a storm measured, in microseconds per operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storm {
    /// Wall time of the loop.
    pub loop_us: f64,
    /// CPU time of the probe after the loop, until it came to rest.
    pub late_us: f64,
    /// Wall time of the median exec; 0 for the other operations.
    pub median_us: f64,
    /// CPU time of the probe during the loop; where there is one CPU, a part of the wall time.
    pub probe_us: f64,
}

impl Storm {
    /// `storm exec 500 1971489181 0 3940021 0`
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip_while(|word| *word != "storm").skip(2);
        let mut number = || words.next()?.parse::<u64>().ok();
        let (count, wall, late, median) = (number()?, number()?, number()?, number()?);
        let during = number()?;
        let each = |ns: u64| ns as f64 / count.max(1) as f64 / 1e3;
        Some(Self {
            loop_us: each(wall),
            late_us: each(late),
            median_us: median as f64 / 1e3,
            probe_us: each(during),
        })
    }

    /// All that an operation cost, whenever the work was done.
    #[must_use]
    pub fn total_us(self) -> f64 {
        self.loop_us + self.late_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        assert_eq!(
            Storm::parse("storm exec 500 1000000 500000 1900 250000"),
            Some(Storm { loop_us: 2.0, late_us: 1.0, median_us: 1.9, probe_us: 0.5 })
        );
        assert_eq!(
            Storm::parse("[  1.0] storm open 1 1000 0 1000 0").map(Storm::total_us),
            Some(1.0)
        );
        assert_eq!(Storm::parse("storm: no such file"), None);
        assert_eq!(Storm::parse(""), None);
    }
}
