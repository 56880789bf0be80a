//! Every target on the inputs that are kept: those that fuzzing begins with, those that once made
//! it fail, and mutations of both, the same ones every time.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use consilium_fuzzing::mutate::{Numbers, mutated};
use consilium_fuzzing::{TARGETS, by_name};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// Files of a folder, in order; none if it is not there.
fn inputs(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let content = fs::read(&path).unwrap();
        (path, content)
    };
    paths.into_iter().map(read).collect()
}

/// Runs a target on an input; whether its decoder takes it. One that makes it fail is left where it
/// can be taken up.
fn run(name: &str, input: &[u8], what: &str) -> bool {
    let target = by_name(name).unwrap();
    if let Ok(is_taken) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        return is_taken;
    }
    let failed = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    fs::write(&failed, input).unwrap();
    panic!(
        "{what} makes the target fail; keep it: cp {} fuzz/regressions/{name}/",
        failed.display()
    );
}

/// All inputs of a target, then so many mutations.
fn check(name: &str, mutations: usize) {
    let seeds = inputs(&fuzz().join("seeds").join(name));
    assert!(!seeds.is_empty(), "there are inputs to begin with");
    for (path, input) in &seeds {
        let path = path.display().to_string();
        assert!(run(name, input, &path), "{path} is refused");
    }
    let regressions = inputs(&fuzz().join("regressions").join(name));
    for (path, input) in &regressions {
        run(name, input, &path.display().to_string());
    }
    let known = [seeds, regressions].concat();
    let mut numbers = Numbers::new(name.len() as u64);
    for count in 0..mutations {
        let (path, input) = &known[count % known.len()];
        let (_, other) = &known[numbers.below(known.len())];
        let input = mutated(input, other, &mut numbers);
        let what = format!("mutation {count} (of {})", path.display());
        run(name, &input, &what);
    }
    run(name, b"", "nothing");
}

/// One test for each target, and the list of them.
macro_rules! tests {
    ($($name:ident: $mutations:expr,)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            check(stringify!($name), $mutations);
        })*
    };
}

tests! {
    block: 500,
    block_file: 400,
    config: 300,
    envelope: 1500,
    form: 3000,
    gossip: 1000,
    identity: 1000,
    mango: 3000,
    package: 2000,
    policy: 1500,
    proposal: 3000,
    raft: 1500,
    records: 3000,
    rwset: 3000,
    shim: 500,
    snapshot: 400,
}

#[test]
fn every_target_is_tested_and_known_to_cargo_fuzz() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let listed: Vec<&str> = manifest
        .split("[[bin]]\nname = \"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(listed, names);
    for name in &names {
        let file = fuzz().join(format!("fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("run(\"{name}\", data)")), "{name}");
    }
    let folders = |kind: &str| {
        let found = inputs_folders(&fuzz().join(kind));
        found
            .into_iter()
            .filter(|name| !names.contains(&name.as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!(folders("seeds"), [""; 0]);
    assert_eq!(folders("regressions"), [""; 0]);
}

fn inputs_folders(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn mutations_are_the_same_every_time_and_differ_from_one_another() {
    let make = || {
        let mut numbers = Numbers::new(7);
        (0..100)
            .map(|_| mutated(b"some input", b"another", &mut numbers))
            .collect::<Vec<_>>()
    };
    assert_eq!(make(), make());
    let different: BTreeSet<Vec<u8>> = make().into_iter().collect();
    assert!(different.len() > 80, "{}", different.len());
}
