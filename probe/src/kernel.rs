//! Facts about the running kernel's functions, from its symbol table and its BTF.

use std::collections::HashMap;
use std::io::BufRead;

use libbpf_rs::btf::types::{Func, FuncProto};
use libbpf_rs::btf::{Btf, ReferencesType};

use crate::planner::{FunctionFacts, KernelFacts};

/// The kernel this process runs on, asked about a given set of functions.
#[derive(Debug)]
pub struct RunningKernel {
    functions: HashMap<String, FunctionFacts>,
}

/// A kernel known only by its capabilities: every function is taken to exist.
#[derive(Debug, Clone, Copy)]
pub struct DescribedKernel;

/// Why the running kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The symbol table cannot be read.
    #[error("cannot read /proc/kallsyms: {0}")]
    Symbols(#[source] std::io::Error),
}

impl RunningKernel {
    /// Looks the functions up. BTF is loaded for the look-up and let go: it is several megabytes.
    ///
    /// # Errors
    /// /proc/kallsyms is unreadable. A kernel without BTF is not an error: its functions have no parameters.
    pub fn inspect<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, KernelError> {
        let mut functions: HashMap<String, FunctionFacts> = names
            .into_iter()
            .map(|name| (name.to_owned(), FunctionFacts { symbols: 0, parameters: None }))
            .collect();
        if functions.is_empty() {
            return Ok(Self { functions });
        }
        count_symbols(&mut functions).map_err(KernelError::Symbols)?;
        if let Ok(btf) = Btf::from_vmlinux() {
            for (name, facts) in &mut functions {
                facts.parameters = parameters(&btf, name);
            }
        }
        Ok(Self { functions })
    }
}

/// `ffffffff81000000 T tcp_connect [module]`, one symbol a line.
fn count_symbols(functions: &mut HashMap<String, FunctionFacts>) -> std::io::Result<()> {
    let mut reader =
        std::io::BufReader::with_capacity(1 << 16, std::fs::File::open("/proc/kallsyms")?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let mut fields = line.split(|b| b.is_ascii_whitespace());
        let kind = fields.nth(1).and_then(|f| f.first().copied());
        let name = fields.next().and_then(|f| std::str::from_utf8(f).ok());
        if let (Some(b't' | b'T' | b'w' | b'W'), Some(name)) = (kind, name)
            && let Some(facts) = functions.get_mut(name)
        {
            facts.symbols += 1;
        }
        line.clear();
    }
    Ok(())
}

fn parameters(btf: &Btf<'_>, name: &str) -> Option<usize> {
    let function: Func<'_> = btf.type_by_name(name)?;
    FuncProto::try_from(function.referenced_type()).ok().map(|proto| proto.len())
}

impl KernelFacts for RunningKernel {
    fn function(&self, name: &str) -> Option<FunctionFacts> {
        // A restricted view of the symbol table shows nothing at all: then BTF alone decides.
        self.functions.get(name).copied()
    }

    fn arch(&self) -> &str {
        std::env::consts::ARCH
    }
}

impl KernelFacts for DescribedKernel {
    fn function(&self, _name: &str) -> Option<FunctionFacts> {
        None
    }

    fn arch(&self) -> &str {
        std::env::consts::ARCH
    }
}
