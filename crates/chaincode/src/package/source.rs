//! Packages of source code, as `peer lifecycle chaincode package` makes them.
//!
//! fabric: core/chaincode/platforms (golang, java, node, util/writer.go), internal/ccmetadata

use consilium_mango::Index;

use super::{Connection, PackageError, PackageMetadata, SERVICE_TYPE, index_place, package};

/// What the code is written in, which decides where its files go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A Go module.
    Golang,
    /// A Maven or Gradle project.
    Java,
    /// An npm package.
    Node,
    /// No code: a `connection.json` that says where the chaincode runs as a service.
    Service,
}

impl Language {
    /// The language of `--lang`, in any case.
    pub fn named(name: &str) -> Option<Self> {
        [
            ("golang", Self::Golang),
            ("java", Self::Java),
            ("node", Self::Node),
            (SERVICE_TYPE, Self::Service),
        ]
        .into_iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known))
        .map(|(_, language)| language)
    }

    /// Whether a folder of that name is left out with all that is in it.
    pub fn skips_folder(self, name: &str) -> bool {
        match self {
            Self::Golang => name.starts_with('.'),
            Self::Java => ["target", "build", "out", ".git"].contains(&name),
            Self::Node => ["node_modules", ".git"].contains(&name),
            Self::Service => name == ".git",
        }
    }
}

/// A file of the source, by its path from the root of the code, with `/` between folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// A package of source code. `metadata` is the `META-INF` folder of the chaincode, by its path from
/// the root of the code. Equal files give equal bytes, hence equal package ids.
///
/// # Errors
/// [`PackageError::Label`], [`PackageError::Source`] for index definitions that no peer would take,
/// and where there is nothing to package.
pub fn package_source(
    language: Language,
    description: &PackageMetadata,
    metadata: &str,
    files: Vec<SourceFile>,
) -> Result<Vec<u8>, PackageError> {
    let mut placed = Vec::new();
    for file in files {
        if let Some(place) = place(language, metadata, &file.path) {
            check(language, &place, &file.content)?;
            placed.push((place, file.content));
        }
    }
    if placed.is_empty() {
        return Err(PackageError::Source("no source files found".to_owned()));
    }
    placed.sort();
    if language == Language::Service && !placed.iter().any(|(name, _)| name == "connection.json") {
        return Err(PackageError::Source(
            "connection.json not found: it says where the chaincode runs".to_owned(),
        ));
    }
    let code: Vec<(&str, &[u8])> = placed
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_slice()))
        .collect();
    package(description, &code)
}

/// Where a file goes in the code archive; `None` for those that stay out.
fn place(language: Language, metadata: &str, path: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let in_metadata = path
        .strip_prefix(metadata)
        .and_then(|rest| rest.strip_prefix('/'));
    match in_metadata {
        // Nobody sees hidden files, and editors and systems leave some.
        Some(_) if name.starts_with('.') => None,
        Some(rest) => Some(format!("META-INF/{rest}")),
        None if language == Language::Java && name.ends_with(".class") => None,
        None if language == Language::Service => Some(path.to_owned()),
        None => Some(format!("src/{path}")),
    }
}

fn check(language: Language, place: &str, content: &[u8]) -> Result<(), PackageError> {
    if place.starts_with("META-INF/") {
        if index_place(place).is_none() {
            return Err(PackageError::Source(format!(
                "metadata file path or name is not supported: {place}"
            )));
        }
        Index::parse(content).map_err(|error| {
            PackageError::Source(format!(
                "Index metadata file [{place}] is not a valid index definition: {error}"
            ))
        })?;
    }
    if language == Language::Service && place == "connection.json" {
        Connection::parse(content).map_err(|error| PackageError::Source(error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Limits, Package, archive};

    const INDEX: &str = r#"{"index":{"fields":["size"]},"name":"size","type":"json"}"#;

    fn file(path: &str, content: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            content: content.as_bytes().to_vec(),
        }
    }

    fn made(language: Language, metadata: &str, files: &[(&str, &str)]) -> Result<Package, String> {
        let description = PackageMetadata {
            path: "./notes".to_owned(),
            kind: "Any".to_owned(),
            label: "notes_1".to_owned(),
        };
        let files = files.iter().map(|(path, content)| file(path, content));
        let made = package_source(language, &description, metadata, files.collect());
        let package = Package::parse(&made.map_err(|error| error.to_string())?).unwrap();
        assert_eq!(package.metadata, description);
        Ok(package)
    }

    fn names(package: &Package) -> Vec<String> {
        let mut names = Vec::new();
        archive::read(&package.code, Limits::CODE, |name, _| {
            names.push(name.to_owned());
            Ok(())
        })
        .unwrap();
        names
    }

    #[test]
    fn code_lies_under_src_and_metadata_beside_it() {
        let index = "META-INF/statedb/couchdb/indexes/size.json";
        for (language, metadata, files, expected) in [
            (
                Language::Node,
                "META-INF",
                &[
                    ("index.js", ""),
                    (index, INDEX),
                    ("META-INF/.DS_Store", "x"),
                ][..],
                &[index, "src/index.js"][..],
            ),
            (
                Language::Java,
                "META-INF",
                &[
                    ("pom.xml", ""),
                    ("src/main/Notes.java", ""),
                    ("Notes.class", ""),
                ],
                &["src/pom.xml", "src/src/main/Notes.java"],
            ),
            (
                Language::Golang,
                "cmd/notes/META-INF",
                &[
                    ("go.mod", ""),
                    ("cmd/notes/main.go", ""),
                    (
                        "cmd/notes/META-INF/statedb/couchdb/indexes/size.json",
                        INDEX,
                    ),
                ],
                &[index, "src/cmd/notes/main.go", "src/go.mod"],
            ),
            (
                Language::Service,
                "META-INF",
                &[
                    ("connection.json", r#"{"address":"localhost:9999"}"#),
                    (index, INDEX),
                ],
                &[index, "connection.json"],
            ),
        ] {
            let package = made(language, metadata, files).unwrap();
            assert_eq!(names(&package), expected, "{language:?}");
        }
    }

    #[test]
    fn what_no_peer_would_take_is_refused() {
        for (language, files, reason) in [
            (Language::Node, &[][..], "no source files found"),
            (
                Language::Node,
                &[("META-INF/notes.txt", "")],
                "metadata file path or name is not supported",
            ),
            (
                Language::Node,
                &[("META-INF/statedb/couchdb/indexes/a.json", "{}")],
                "is not a valid index definition",
            ),
            (
                Language::Service,
                &[("readme", "")],
                "connection.json not found",
            ),
            (Language::Service, &[("connection.json", "{}")], ""),
        ] {
            let refused = made(language, "META-INF", files).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        let description = PackageMetadata {
            label: "a b".to_owned(),
            ..PackageMetadata::default()
        };
        let files = vec![file("index.js", "")];
        let refused = package_source(Language::Node, &description, "META-INF", files);
        assert!(matches!(refused, Err(PackageError::Label(_))));
    }

    #[test]
    fn languages_are_named_in_any_case_and_leave_out_what_is_built() {
        assert_eq!(Language::named("GoLang"), Some(Language::Golang));
        assert_eq!(Language::named("ccaas"), Some(Language::Service));
        assert_eq!(Language::named("rust"), None);
        for (language, name, skipped) in [
            (Language::Golang, ".git", true),
            (Language::Golang, "vendor", false),
            (Language::Java, "target", true),
            (Language::Java, "src", false),
            (Language::Node, "node_modules", true),
        ] {
            assert_eq!(language.skips_folder(name), skipped, "{language:?} {name}");
        }
    }
}
