//! The demo's health data: a synthetic hospital population in FHIR R4 from the PyPI package
//! `clinosim` (MIT), made once and kept under `target/`.

use std::path::{Path, PathBuf};

use crate::run::{command, run};

/// Package and version; the same version, seed and dates give the same population.
const PACKAGE: &str = "clinosim==0.6.5";
const SEED: &str = "42";
/// People in the catchment area; about half of them become patients.
const POPULATION: &str = "420";

/// Makes the population if it is not there yet, and returns the folder of NDJSON files.
///
/// # Errors
/// Python or the package cannot be installed, or the generator fails.
pub fn population() -> anyhow::Result<PathBuf> {
    let folder = Path::new("target/demo/population");
    let fhir = folder.join("fhir_r4");
    if fhir.join("manifest.json").is_file() {
        return Ok(fhir);
    }
    let venv = venv("target/demo/venv", &[PACKAGE])?;
    println!("making a synthetic hospital population (about a minute)");
    run(&mut command(
        &venv.join("bin/clinosim").to_string_lossy(),
        [
            "simulate",
            "--population",
            POPULATION,
            "--seed",
            SEED,
            "--start",
            "2025-07-01",
            "--end",
            "2026-06-30",
            "--country",
            "US",
            "--format",
            "fhir-r4",
            "--output",
            &folder.to_string_lossy(),
        ],
    ))?;
    Ok(fhir)
}

/// A Python environment with `packages`, made once.
///
/// # Errors
/// Python has no venv module, or a package cannot be installed.
pub fn venv(folder: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = Path::new(folder);
    let marker = folder.join("installed");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(folder.to_owned());
    }
    run(&mut command(
        "python3",
        ["-m", "venv", "--clear", &folder.to_string_lossy()],
    ))?;
    let pip = folder.join("bin/pip");
    let mut install = command(
        &pip.to_string_lossy(),
        ["install", "--quiet", "--disable-pip-version-check"],
    );
    run(install.args(packages))?;
    std::fs::write(marker, wanted)?;
    Ok(folder.to_owned())
}
