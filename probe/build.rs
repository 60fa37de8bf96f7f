//! Compiles each `src/bpf/*.bpf.c` and generates its skeleton into `OUT_DIR`.

#![allow(clippy::expect_used, clippy::panic, reason = "a build script has no other way to fail")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, ffi::OsString};

use libbpf_cargo::SkeletonBuilder;

const OBJECTS: [&str; 5] = ["process", "cgroup", "generic_kprobe", "generic_fentry", "trial"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let bpf = Path::new("src/bpf");
    println!("cargo:rerun-if-changed={}", bpf.display());
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = clang();
    for name in OBJECTS {
        SkeletonBuilder::new()
            .source(bpf.join(format!("{name}.bpf.c")))
            .clang(&clang)
            .clang_args(arguments())
            .build_and_generate(out.join(format!("{name}.skel.rs")))
            .unwrap_or_else(|error| panic!("src/bpf/{name}.bpf.c: {error:#}"));
    }
}

/// `CLANG`, else the newest of those known to build our programs.
fn clang() -> OsString {
    if let Some(clang) = env::var_os("CLANG") {
        return clang;
    }
    ["clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14", "clang"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()))
        .unwrap_or_else(|| panic!("no clang found: install clang (14 or newer), or set CLANG"))
        .into()
}

fn arguments() -> Vec<OsString> {
    let arch =
        match env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH").as_str()
        {
            "x86_64" => "x86",
            "aarch64" => "arm64",
            other => panic!("no BPF register layout for {other}"),
        };
    // v3: 32-bit jumps, which every kernel from 5.10 on has, and atomics that return the old value, which only
    // the trampolines use.
    [
        "-mcpu=v3",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-parameter",
        &format!("-D__TARGET_ARCH_{arch}"),
    ]
    .map(OsString::from)
    .to_vec()
}
