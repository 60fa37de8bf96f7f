//! Kernel records to events: rings -> records -> process cache -> [`Event`].

mod decode;
mod losses;
mod places;
pub mod procfs;
pub mod record;
mod ring;
mod seed;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

pub use losses::{Loss, Losses};
pub use places::Places;
pub use ring::{Rings, boot_now};
pub use seed::seed_processes;

use crate::cgroups::CgroupFacts;
use crate::event::{Body, Event, Exit, Kprobe, WallTime};
use crate::policy::{HookTable, LoadedHook};
use crate::process_cache::{Image, ProcessCache};
use record::{Call, Header, ImageKey, Record, Return};

/// How often the offset between boot time and wall time is read again.
const CLOCK_INTERVAL_SECONDS: u64 = 10;
/// Calls that wait for their return at once; more are sent without it.
const MAX_WAITING: usize = 8192;

/// Turns what the kernel side sends into events, in order.
#[derive(Debug)]
pub struct Sensor {
    rings: Rings,
    translator: Translator,
    losses: Losses,
    clock_read: Instant,
}

/// The part without a kernel: records in, events out.
#[derive(Debug)]
pub struct Translator {
    cache: ProcessCache,
    places: Places,
    table: HookTable,
    /// The table as of the current batch.
    hooks: HashMap<u32, Arc<LoadedHook>>,
    waiting: HashMap<CallKey, Waiting>,
    cookie_key: u64,
    seq: u64,
    undecodable: u64,
}

/// A call and its return have this in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct CallKey {
    hook: u32,
    tid: u32,
    call_time: u64,
}

/// A call that has not returned.
#[derive(Debug)]
struct Waiting {
    time: WallTime,
    image: Image,
    tgid: u32,
    tid: u32,
    kprobe: Kprobe,
    ret: Option<(securitywatch_api::policy::ArgKind, Arc<str>)>,
}

/// What the sensor has seen and lost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SensorStats {
    /// Events emitted.
    pub events: u64,
    /// Records that could not be read.
    pub undecodable: u64,
    /// Process images in the cache.
    pub processes: usize,
    /// Records lost before they reached the probe, by cause.
    pub lost: [u64; Loss::COUNT],
}

impl Sensor {
    /// A sensor over open rings. The caches are already seeded from /proc and the cgroup file system.
    #[must_use]
    pub fn new(
        rings: Rings,
        cache: ProcessCache,
        places: Places,
        table: HookTable,
        losses: Losses,
    ) -> Self {
        Self {
            rings,
            translator: Translator::new(cache, places, table),
            losses,
            clock_read: Instant::now(),
        }
    }

    /// Waits a moment for records and emits the events they make. Returns how many records it handled.
    pub fn step(&mut self, emit: &mut dyn FnMut(Event)) -> usize {
        self.rings.wait();
        self.drain(false, emit)
    }

    /// The last drain: everything that is in the rings, and the calls that never returned.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Event)) {
        while self.drain(true, emit) > 0 {}
        self.translator.flush_waiting(emit);
    }

    fn drain(&mut self, all: bool, emit: &mut dyn FnMut(Event)) -> usize {
        if self.clock_read.elapsed().as_secs() >= CLOCK_INTERVAL_SECONDS {
            self.clock_read = Instant::now();
            self.translator.cache.set_boot_wall(boot_wall_ns());
        }
        self.translator.start_batch();
        let (translator, losses) = (&mut self.translator, &mut self.losses);
        let handled = self.rings.drain(all, |bytes| {
            losses.note(bytes);
            translator.record(bytes, emit);
        });
        self.translator.end_batch(boot_now());
        handled
    }

    /// Figures so far.
    #[must_use]
    pub fn stats(&self) -> SensorStats {
        SensorStats {
            events: self.translator.seq,
            undecodable: self.translator.undecodable,
            processes: self.translator.cache.len(),
            lost: self.losses.read(),
        }
    }
}

/// Wall time of boot in ns: what is to be added to a boot time.
#[must_use]
pub fn boot_wall_ns() -> i64 {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    wall.tv_sec * 1_000_000_000 + wall.tv_nsec - boot_now() as i64
}

/// Whether the process is where it was when it called exec. Who has left every pod counts as there.
fn is_there(image: &Image, now: Option<&Arc<CgroupFacts>>) -> bool {
    let before = image.process.cgroup.as_ref().map(|cgroup| cgroup.id);
    now.is_none_or(|now| before == Some(now.id))
}

impl Translator {
    /// Starts with the processes and cgroups that are there.
    #[must_use]
    pub fn new(cache: ProcessCache, places: Places, table: HookTable) -> Self {
        Self {
            cache,
            places,
            table,
            hooks: HashMap::new(),
            waiting: HashMap::new(),
            cookie_key: decode::cookie_key(),
            seq: 0,
            undecodable: 0,
        }
    }

    /// Looks at the policies once per batch instead of once per record.
    pub fn start_batch(&mut self) {
        if let Ok(table) = self.table.read()
            && (table.len() != self.hooks.len()
                || table.keys().any(|k| !self.hooks.contains_key(k)))
        {
            self.hooks.clone_from(&table);
        }
    }

    /// Forgets the processes and cgroups that ended long enough before `now` (boot time, ns).
    pub fn end_batch(&mut self, now: u64) {
        self.cache.expire(now);
        self.places.expire(now);
    }

    /// One record, in time order.
    pub fn record(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event)) {
        let Ok(Record { header, body }) = record::decode(bytes) else {
            self.undecodable += 1;
            return;
        };
        match body {
            record::Body::Exec(exec) => {
                let place = self.places.place(exec.cgroup_id);
                let image = self.cache.exec(header.image, &exec, place).clone();
                self.emit(header.time, image, header.tid, Body::Exec, emit);
            }
            record::Body::Fork(fork) => {
                self.cache.fork(header.image, &fork);
            }
            record::Body::Exit { code } => self.exit(&header, code, emit),
            record::Body::Call(call) => self.call(&header, &call, emit),
            record::Body::Return(ret) => self.returned(&header, &ret, emit),
            record::Body::Cgroup(made) => self.places.made(&made),
            record::Body::CgroupGone { id } => self.places.gone(id, header.time),
        }
    }

    fn exit(&mut self, header: &Header, code: u32, emit: &mut dyn FnMut(Event)) {
        self.flush_waiting_of(header.image.tgid, emit);
        if let Some(image) = self.cache.get(header.image).cloned() {
            let exit = Exit {
                status: code >> 8 & 0xff,
                signal: (code & 0x7f) as u8,
                time: self.cache.wall(header.time),
            };
            // The last thread to go is not always the leader; the event is the process's.
            self.emit(header.time, image, header.image.tgid, Body::Exit(exit), emit);
        }
        self.cache.exit(header.image, header.time);
    }

    fn call(&mut self, header: &Header, call: &Call<'_>, emit: &mut dyn FnMut(Event)) {
        let Some(hook) = self.hooks.get(&call.hook).map(Arc::clone) else {
            self.undecodable += 1;
            return;
        };
        let mut kprobe = Kprobe {
            hook: Arc::clone(&hook.hook),
            args: decode::arguments(&hook, call, self.cookie_key),
            ret: None,
            action: decode::action(call.action),
            return_action: decode::action(call.ret_action),
        };
        if let (Some((kind, label)), Some(value)) = (&hook.ret, call.ret) {
            kprobe.ret = Some(decode::return_value(*kind, label, value));
        }
        let image = self.image(header.image, call.cgroup_id);
        if call.awaits_return && self.waiting.len() < MAX_WAITING {
            let key = CallKey { hook: call.hook, tid: header.tid, call_time: header.time };
            let ret = hook.ret.clone();
            let time = self.cache.wall(header.time);
            let (tgid, tid) = (header.image.tgid, header.tid);
            self.waiting.insert(key, Waiting { time, image, tgid, tid, kprobe, ret });
            return;
        }
        self.emit(header.time, image, header.tid, Body::Kprobe(kprobe), emit);
    }

    fn returned(&mut self, header: &Header, ret: &Return, emit: &mut dyn FnMut(Event)) {
        let key = CallKey { hook: ret.hook, tid: header.tid, call_time: ret.call_time };
        let Some(mut call) = self.waiting.remove(&key) else { return };
        if !ret.matched {
            return;
        }
        call.kprobe.return_action = decode::action(ret.ret_action);
        if let Some((kind, label)) = &call.ret {
            call.kprobe.ret = Some(decode::return_value(*kind, label, ret.ret));
        }
        self.emit_waiting(call, emit);
    }

    /// A process that ended cannot return: its calls are events all the same.
    fn flush_waiting_of(&mut self, tgid: u32, emit: &mut dyn FnMut(Event)) {
        if self.waiting.is_empty() {
            return;
        }
        let keys: Vec<_> =
            self.waiting.iter().filter(|(_, w)| w.tgid == tgid).map(|(k, _)| *k).collect();
        for key in keys {
            if let Some(call) = self.waiting.remove(&key) {
                self.emit_waiting(call, emit);
            }
        }
    }

    fn flush_waiting(&mut self, emit: &mut dyn FnMut(Event)) {
        for (_, call) in std::mem::take(&mut self.waiting) {
            self.emit_waiting(call, emit);
        }
    }

    fn emit_waiting(&mut self, call: Waiting, emit: &mut dyn FnMut(Event)) {
        self.seq += 1;
        emit(Event {
            seq: self.seq,
            time: call.time,
            process: call.image.process,
            parent: call.image.parent,
            tid: call.tid,
            body: Body::Kprobe(call.kprobe),
        });
    }

    /// A policy event is never dropped for want of its process: /proc is asked, and failing that the event
    /// carries the bare pid with Tetragon's flag `unknown`.
    fn image(&mut self, key: ImageKey, cgroup_id: u64) -> Image {
        let known = self.cache.get(key);
        if let Some(image) = known.filter(|image| is_there(image, self.places.facts(cgroup_id))) {
            return image.clone();
        }
        let (is_known, place) = (known.is_some(), self.places.place(cgroup_id));
        if is_known {
            self.cache.entered(key, place.clone());
        } else if let Some(found) = procfs::read(std::path::Path::new("/proc"), key.tgid) {
            self.cache.insert_found(&found, place.clone());
        }
        match self.cache.get(key) {
            Some(image) => image.clone(),
            None => self.cache.unknown(key, place),
        }
    }

    fn emit(&mut self, time: u64, image: Image, tid: u32, body: Body, emit: &mut dyn FnMut(Event)) {
        self.seq += 1;
        emit(Event {
            seq: self.seq,
            time: self.cache.wall(time),
            process: image.process,
            parent: image.parent,
            tid,
            body,
        });
    }
}
