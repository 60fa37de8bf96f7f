//! The probe's kernel side without a cluster: pods are what the commands on standard input say.
//!
//! | command | |
//! |---|---|
//! | `pod UID NAMESPACE` | a pod is known |
//! | `container ID NAME` | the container whose cgroup is known by this id has this name |
//! | `apply FILE` | loads the policy, in place of what was loaded |
//! | `stop` | ends |
//!
//! Each is answered by a line: `ok`, or `refused: …`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libbpf_rs::MapHandle;
use securitywatch_api::document::load_all;
use securitywatch_api::policy::PodScope;
use securitywatch_probe::capabilities::Capabilities;
use securitywatch_probe::cgroups::{self, CgroupFacts, Layout, ScopeBits, ScopeMaps};
use securitywatch_probe::encode::json::JsonEncoder;
use securitywatch_probe::loader::{self, Sizes};
use securitywatch_probe::planner::Preference;
use securitywatch_probe::policy::{PolicySet, ScopeKeeper};
use securitywatch_probe::process_cache::ProcessCache;
use securitywatch_probe::sensor::{Losses, Places, Rings, Sensor, boot_wall_ns, seed_processes};

/// What went wrong, in words: a test shows them.
pub type Failure = Box<dyn std::error::Error>;

const SIZES: Sizes =
    Sizes { lifecycle_ring: 1 << 20, telemetry_ring: 8 << 20, processes: 4096, cgroups: 64 };

/// Runs until `stop` or the end of the input; events go to `events`.
///
/// # Errors
/// The kernel refuses something that no command asked for.
pub fn run(root: &Path, events: File, preference: Preference) -> Result<(), Failure> {
    let layout = Layout::detect(root)?;
    let (lifecycle, maps) = loader::load_lifecycle(SIZES, Some(&layout))?;
    let mut cache = ProcessCache::new("scoped", boot_wall_ns());
    let seeded = cgroups::seed(&layout.root, &maps.cgroups);
    let there = seeded.table.iter().map(|facts| CgroupFacts::clone(facts)).collect();
    let mut places = Places::new(seeded.table, None);
    seed_processes(Path::new("/proc"), &mut cache, &seeded.processes, &mut places, &maps.processes);
    let mut policies = PolicySet::new(maps, Capabilities::detect(), preference);
    let keeper = Arc::new(Keeper::new(ScopeMaps::new(policies.maps())?, there));
    policies.keep_scopes(Arc::<Keeper>::clone(&keeper));
    let handle = |map: &MapHandle| MapHandle::try_from(map);
    let maps = policies.maps();
    let (telemetry, life) = (handle(&maps.telemetry)?, handle(&maps.lifecycle)?);
    let control = handle(&maps.control)?;
    let losses = Losses::new(handle(&maps.losses)?, policies.misses());
    let table = policies.table();
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || -> io::Result<()> {
            let rings = Rings::new(&telemetry, &life, control, SIZES.telemetry_ring)
                .map_err(io::Error::other)?;
            let mut sensor = Sensor::new(rings, cache, places, table, losses);
            let mut encoder = JsonEncoder::new("scoped");
            let mut lines = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                sensor.step(&mut |event| encoder.write_line(&event, &mut lines));
            }
            sensor.finish(&mut |event| encoder.write_line(&event, &mut lines));
            let mut events = events;
            events.write_all(&lines)?;
            writeln!(events, r#"{{"lost":{:?}}}"#, sensor.stats().lost)
        }
    });
    println!("ok");
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line == "stop" {
            break;
        }
        match command(&line, &keeper, &mut policies) {
            Ok(()) => println!("ok"),
            Err(error) => println!("refused: {error}"),
        }
    }
    drop((policies, lifecycle));
    is_over.store(true, Ordering::Relaxed);
    reader.join().map_err(|_| "the reader panicked")??;
    println!("ok");
    Ok(())
}

fn command(line: &str, keeper: &Keeper, policies: &mut PolicySet) -> Result<(), Failure> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["pod", uid, namespace] => keeper.pod(uid, namespace),
        ["container", id, name] => keeper.container(id, name),
        ["apply", path] => {
            let text = std::fs::read_to_string(path)?;
            for document in load_all([(path, text.as_str())])? {
                if let Some(policy) = &document.policy {
                    policies.apply("policy", policy, 0)?;
                }
            }
            Ok(())
        }
        _ => Err(format!("{line:?} is no command").into()),
    }
}

/// Keeps the bits of the pods that it was told of.
#[derive(Debug)]
struct Keeper {
    maps: ScopeMaps,
    cgroups: Vec<CgroupFacts>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    scopes: HashMap<u32, PodScope>,
    /// Uid to namespace.
    pods: HashMap<String, String>,
    /// Container id to name.
    containers: HashMap<String, String>,
}

impl Keeper {
    fn new(maps: ScopeMaps, cgroups: Vec<CgroupFacts>) -> Self {
        Self { maps, cgroups, known: Mutex::default() }
    }

    fn pod(&self, uid: &str, namespace: &str) -> Result<(), Failure> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.pods.insert(uid.to_owned(), namespace.to_owned());
        self.write(&known)
    }

    fn container(&self, id: &str, name: &str) -> Result<(), Failure> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.containers.insert(id.to_owned(), name.to_owned());
        self.write(&known)
    }

    fn write(&self, known: &Known) -> Result<(), Failure> {
        for (uid, namespace) in &known.pods {
            let selects = |scope: &PodScope| scope.admits_pod(namespace, |_| None);
            let whole = |scope: &PodScope| selects(scope) && scope.containers.is_empty();
            self.maps.set_pod(uid, &known.bits(whole))?;
            for facts in self.cgroups.iter().filter(|facts| *facts.pod_uid == **uid) {
                let name = facts.container_id.as_deref().and_then(|id| known.containers.get(id));
                let Some(name) = name.filter(|_| facts.container_cgroup == facts.id) else {
                    continue;
                };
                let bits = known.bits(|scope| selects(scope) && scope.admits_container(name, ""));
                self.maps.set_container(facts.id, &bits)?;
            }
        }
        Ok(())
    }
}

impl Known {
    fn bits(&self, selects: impl Fn(&PodScope) -> bool) -> ScopeBits {
        let mut bits = ScopeBits::default();
        for (bit, _) in self.scopes.iter().filter(|(_, scope)| selects(scope)) {
            bits.set(*bit);
        }
        bits
    }
}

impl ScopeKeeper for Keeper {
    fn begin(&self, bit: u32, pods: &PodScope) -> Result<(), String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.scopes.insert(bit, pods.clone());
        self.write(&known).map_err(|error| error.to_string())
    }

    fn end(&self, bit: u32) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.scopes.remove(&bit);
    }
}
