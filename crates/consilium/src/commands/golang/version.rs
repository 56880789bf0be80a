//! What programs tell about themselves. fabric: internal/peer/version, internal/configtxgen/metadata

/// The version of a program: Fabric's form, with what is true of this one.
pub fn version(program: &str) -> String {
    format!(
        "{program}:\n Version: v{}\n Commit SHA: {}\n Fabric: v3.1\n OS/Arch: {}/{}",
        env!("CARGO_PKG_VERSION"),
        option_env!("CONSILIUM_COMMIT").unwrap_or("unknown"),
        system(std::env::consts::OS),
        processor(std::env::consts::ARCH),
    )
}

/// Go's name.
fn system(name: &str) -> &str {
    match name {
        "macos" => "darwin",
        other => other,
    }
}

/// Go's name.
fn processor(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_find_the_version_where_fabric_has_it() {
        let text = version("peer");
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix(" Version: "));
        assert_eq!(version, Some(concat!("v", env!("CARGO_PKG_VERSION"))));
        assert_eq!((system("macos"), processor("x86_64")), ("darwin", "amd64"));
    }
}
