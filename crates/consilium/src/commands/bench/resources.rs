//! What a measurement costs: memory, disk, page cache.

use std::{collections::BTreeMap, fs, io, path::Path};

/// Peak resident bytes of this process since [`forget_peak`], from proc(5).
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}

/// Lets the peak begin again with what is resident now; where the kernel refuses, it stays.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// CPU seconds of this process, user and system, from proc(5).
pub fn cpu_seconds() -> Option<f64> {
    cpu_of(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// CPU seconds of the threads that run now, added up by name; numbers at the end of a name are left
/// out.
pub fn cpu_by_thread() -> BTreeMap<String, f64> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |file| fs::read_to_string(entry.path().join(file)).ok();
        let (Some(name), Some(cpu)) = (read("comm"), read("stat").and_then(|stat| cpu_of(&stat)))
        else {
            // It has ended in between.
            continue;
        };
        let name = name
            .trim()
            .trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        *threads.entry(name.to_owned()).or_insert(0.0) += cpu;
    }
    threads
}

/// CPU seconds in the text of a `stat` file of proc(5).
fn cpu_of(stat: &str) -> Option<f64> {
    let fields: Vec<_> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // The unit of these fields is 1/100 s on every Linux that Rust supports.
    Some(ticks as f64 / 100.0)
}

/// Bytes of all files below a folder.
///
/// # Errors
/// The folder cannot be read.
pub fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    visit(folder, &mut |file| {
        bytes += fs::metadata(file)?.len();
        Ok(())
    })?;
    Ok(bytes)
}

/// Asks the kernel to drop the files below a folder from its page cache, so that the next read is
/// one of the disk. Only what is on disk already goes.
///
/// # Errors
/// A file cannot be opened.
pub fn forget_cached(folder: &Path) -> io::Result<()> {
    visit(folder, &mut |path| {
        let file = fs::File::open(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    })
}

fn visit(folder: &Path, file: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            visit(&entry.path(), file)?;
        } else {
            file(&entry.path())?;
        }
    }
    Ok(())
}
