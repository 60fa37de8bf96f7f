#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("events.log")
    }

    fn open(&self, max_size_bytes: u64, max_files: u32) -> EventLog {
        EventLog::open(EventLogOptions { path: self.path(), max_size_bytes, max_files }).unwrap()
    }

    fn text(&self, number: u32) -> String {
        let path = if number == 0 { self.path() } else { rotated(&self.path(), number) };
        std::fs::read_to_string(path).unwrap_or_default()
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.dir.path()).unwrap().count()
    }
}

#[test]
fn files_are_private_and_appended_to() {
    let fixture = Fixture::new();
    assert_eq!(fixture.open(100, 5).append(b"one\n"), 0);
    assert_eq!(fixture.open(100, 5).append(b"two\n"), 0);
    assert_eq!(fixture.text(0), "one\ntwo\n");
    let mode = std::fs::metadata(fixture.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn rotation_keeps_whole_lines_in_order_and_the_bound() {
    let fixture = Fixture::new();
    let mut log = fixture.open(12, 2);
    let mut all = String::new();
    for number in 0..10 {
        let line = format!("{number:04}\n");
        all += &line;
        assert_eq!(log.append(line.as_bytes()), 0);
    }
    // Two lines of five bytes fit; of ten lines the last six are kept.
    assert_eq!(fixture.text(0), "0008\n0009\n");
    assert_eq!(fixture.text(1), "0006\n0007\n");
    assert_eq!(fixture.text(2), "0004\n0005\n");
    assert_eq!(fixture.files(), 3);
    let mode = std::fs::metadata(fixture.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn one_batch_fills_many_files() {
    let fixture = Fixture::new();
    let mut log = fixture.open(12, 5);
    let lines: String = (0..7).map(|number| format!("{number:04}\n")).collect();
    assert_eq!(log.append(lines.as_bytes()), 0);
    assert_eq!(fixture.text(3), "0000\n0001\n");
    assert_eq!(fixture.text(0), "0006\n");
}

#[test]
fn a_line_longer_than_a_file_stands_alone() {
    let fixture = Fixture::new();
    let mut log = fixture.open(12, 5);
    assert_eq!(log.append(b"short\na line of more than twelve bytes\nshort\n"), 0);
    assert_eq!(fixture.text(2), "short\n");
    assert_eq!(fixture.text(1), "a line of more than twelve bytes\n");
    assert_eq!(fixture.text(0), "short\n");
}

#[test]
fn without_rotated_files_the_old_one_goes() {
    let fixture = Fixture::new();
    let mut log = fixture.open(12, 0);
    assert_eq!(log.append(b"0000\n0001\n0002\n"), 0);
    assert_eq!(fixture.text(0), "0002\n");
    assert_eq!(fixture.files(), 1);
}

#[test]
fn a_moved_or_removed_file_is_written_no_further() {
    let fixture = Fixture::new();
    let mut log = fixture.open(100, 5);
    log.append(b"one\n");
    let elsewhere = fixture.dir.path().join("moved");
    std::fs::rename(fixture.path(), &elsewhere).unwrap();
    assert_eq!(log.append(b"two\n"), 0);
    assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), "one\n");
    assert_eq!(fixture.text(0), "two\n");
    std::fs::remove_file(fixture.path()).unwrap();
    assert_eq!(log.append(b"three\n"), 0);
    assert_eq!(fixture.text(0), "three\n");
}

#[test]
fn half_a_line_left_by_a_crash_is_ended() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path(), "whole\n{\"half").unwrap();
    assert_eq!(fixture.open(100, 5).append(b"next\n"), 0);
    assert_eq!(fixture.text(0), "whole\n{\"half\nnext\n");
}

#[test]
fn an_unfinished_rotation_pushes_nothing_out() {
    let fixture = Fixture::new();
    let mut log = fixture.open(6, 3);
    log.append(b"0000\n0001\n0002\n0003\n");
    // As if the last rename of a rotation had failed: `.1` is free.
    std::fs::remove_file(rotated(&fixture.path(), 1)).unwrap();
    log.append(b"0004\n");
    assert_eq!(fixture.text(1), "0003\n");
    assert_eq!(fixture.text(2), "0001\n");
    assert_eq!(fixture.text(3), "0000\n");
}

#[test]
fn a_folder_that_goes_and_comes_back_costs_the_lines_between() {
    let fixture = Fixture::new();
    let inner = fixture.dir.path().join("logs");
    std::fs::create_dir(&inner).unwrap();
    let path = inner.join("events.log");
    let options = EventLogOptions { path: path.clone(), max_size_bytes: 100, max_files: 1 };
    let mut log = EventLog::open(options).unwrap();
    std::fs::remove_dir_all(&inner).unwrap();
    assert_eq!(log.append(b"one\ntwo\n"), 2);
    assert_eq!(log.append(b"three\n"), 1);
    assert_eq!(log.failing, Some(3));
    std::fs::create_dir(&inner).unwrap();
    assert_eq!(log.append(b"four\n"), 0);
    assert_eq!(log.failing, None);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "four\n");
}

#[test]
fn a_log_that_cannot_be_opened_yet_is_opened_later() {
    let fixture = Fixture::new();
    let inner = fixture.dir.path().join("logs");
    let path = inner.join("events.log");
    let options = EventLogOptions { path: path.clone(), max_size_bytes: 100, max_files: 1 };
    let troubles = Troubles::default();
    let mut log = EventLog::open_or_try_again(options, troubles.clone());
    let told = "the event log lacks events: No such file or directory (os error 2)";
    assert_eq!(troubles.sentences(), [told]);
    assert_eq!(log.append(b"one\n"), 1);
    assert_eq!(troubles.sentences(), [told]);
    std::fs::create_dir(&inner).unwrap();
    assert_eq!(log.append(b"two\n"), 0);
    assert!(troubles.sentences().is_empty());
    assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
}

#[test]
fn what_is_no_file_is_not_taken_for_one_later() {
    let options = EventLogOptions { path: "/dev/null".into(), max_size_bytes: 1, max_files: 1 };
    let troubles = Troubles::default();
    let mut log = EventLog::open_or_try_again(options, troubles.clone());
    assert_eq!(log.append(b"one\n"), 1);
    assert_eq!(troubles.sentences(), ["the event log lacks events: not a regular file"]);
}

#[test]
fn what_cannot_be_opened_says_what_to_do() {
    let fixture = Fixture::new();
    let open = |path: PathBuf| {
        EventLog::open(EventLogOptions { path, max_size_bytes: 1, max_files: 1 }).unwrap_err()
    };
    assert!(open(fixture.dir.path().join("no/log")).to_string().contains("create its folder"));
    assert!(open(fixture.dir.path().to_owned()).to_string().contains("--output json"));
    assert!(open("/dev/null".into()).to_string().contains("not a regular file"));
}

/// Names the small file system for the inner run of [`a_full_disk_costs_the_lines_that_do_not_fit`].
const SMALL_DISK: &str = "SECURITYWATCH_TEST_SMALL_DISK";

#[test]
fn a_full_disk_costs_the_lines_that_do_not_fit() {
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        return fill_and_free(Path::new(&disk));
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=64k tmpfs \"$0\" && exec \"$@\"";
    let run = |program: &[&std::ffi::OsStr]| {
        Command::new("unshare")
            .args(["-Urm", "sh", "-c", mount])
            .arg(dir.path())
            .args(program)
            .env(SMALL_DISK, dir.path())
            .output()
    };
    if !run(&["true".as_ref()]).is_ok_and(|output| output.status.success()) {
        println!("skipped: no private mounts here (unshare -Urm)");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let name = "event_log::tests::a_full_disk_costs_the_lines_that_do_not_fit";
    let output = run(&[this.as_os_str(), "--exact".as_ref(), name.as_ref()]).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn fill_and_free(disk: &Path) {
    let path = disk.join("events.log");
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; 48 << 10]).unwrap();
    let options = EventLogOptions { path: path.clone(), max_size_bytes: 1 << 20, max_files: 1 };
    let mut log = EventLog::open(options).unwrap();
    let line = format!("{}\n", "x".repeat(999));
    let lost = log.append(line.repeat(30).as_bytes());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!((1..30).contains(&lost), "{lost}");
    assert_eq!(text, line.repeat(30 - usize::try_from(lost).unwrap()), "whole lines only");
    assert!(log.append(line.repeat(30).as_bytes()) > 0, "still full");

    std::fs::remove_file(filler).unwrap();
    assert_eq!(log.append(line.repeat(10).as_bytes()), 0);
    assert!(std::fs::read_to_string(&path).unwrap().split_inclusive('\n').all(|each| each == line));
}
