//! The folder of a chaincode's source: which one it is, and what is in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use consilium_chaincode::{Language, SourceFile};

use crate::commands::golang;

const METADATA: &str = "META-INF";

/// A folder to package.
#[derive(Debug)]
pub struct Source {
    /// What it is written in.
    pub language: Language,
    /// The path that a package's description names: for a Go module the import path.
    pub path: String,
    /// Where the chaincode's `META-INF` is, seen from the root.
    pub metadata: String,
    root: PathBuf,
}

impl Source {
    /// The source at `path`.
    ///
    /// # Errors
    /// The language is not known, or there is no Go module.
    pub fn of(language: &str, path: &str) -> anyhow::Result<Self> {
        let known = Language::named(language);
        let known =
            known.with_context(|| format!("unknown chaincodeType: {}", language.to_uppercase()))?;
        if known == Language::Golang {
            return Self::of_module(path);
        }
        Ok(Self {
            language: known,
            path: path.to_owned(),
            metadata: METADATA.to_owned(),
            root: path.into(),
        })
    }

    /// A Go module is packaged whole, whichever of its packages is the chaincode.
    fn of_module(path: &str) -> anyhow::Result<Self> {
        let folder = fs::canonicalize(path)
            .map_err(|error| anyhow::anyhow!(golang::file_error("lstat", path.as_ref(), &error)))?;
        let root = folder
            .ancestors()
            .find(|root| root.join("go.mod").is_file());
        let root = root.with_context(|| {
            format!("found no go.mod in {path} or above it: a Go chaincode has to be a module")
        })?;
        let file = root.join("go.mod");
        let text = golang::read_file(&file)?;
        let module = module_of(&String::from_utf8_lossy(&text))
            .with_context(|| format!("{} names no module", file.display()))?;
        let within = folder.strip_prefix(root).unwrap_or(Path::new(""));
        let within = slashed(within);
        let below = |parent: &str, child: &str| match (parent, child) {
            (parent, "") => parent.to_owned(),
            ("", child) => child.to_owned(),
            (parent, child) => format!("{parent}/{child}"),
        };
        Ok(Self {
            language: Language::Golang,
            path: below(&module, &within),
            metadata: below(&within, METADATA),
            root: root.to_owned(),
        })
    }

    /// Everything in the folder but what the language leaves out.
    ///
    /// # Errors
    /// Something cannot be read.
    pub fn files(&self) -> anyhow::Result<Vec<SourceFile>> {
        let mut files = Vec::new();
        self.collect(&self.root, &mut files)?;
        Ok(files)
    }

    fn collect(&self, folder: &Path, files: &mut Vec<SourceFile>) -> anyhow::Result<()> {
        let failed = |doing: &'static str, path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| anyhow::anyhow!(golang::file_error(doing, &path, &error))
        };
        for entry in fs::read_dir(folder).map_err(failed("lstat", folder))? {
            let entry = entry.map_err(failed("lstat", folder))?;
            let path = entry.path();
            // Links to folders are not followed: they could lead in circles.
            let kind = entry.file_type().map_err(failed("lstat", &path))?;
            if kind.is_dir() {
                let name = entry.file_name();
                if !self.language.skips_folder(&name.to_string_lossy()) {
                    self.collect(&path, files)?;
                }
                continue;
            }
            let within = path.strip_prefix(&self.root).unwrap_or(&path);
            files.push(SourceFile {
                path: slashed(within),
                content: golang::read_file(&path)?,
            });
        }
        Ok(())
    }
}

fn slashed(path: &Path) -> String {
    let parts = path.iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

/// The module that a `go.mod` names.
fn module_of(text: &str) -> Option<String> {
    let named = text.lines().find_map(|line| {
        let line = line.split("//").next().unwrap_or_default().trim();
        line.strip_prefix("module")
            .filter(|rest| rest.starts_with([' ', '\t', '"', '`']))
    })?;
    let named = named.trim().trim_matches(['"', '`']);
    (!named.is_empty()).then(|| named.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, path: &str) {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, path).unwrap();
    }

    fn paths(source: &Source) -> Vec<String> {
        let files = source.files().unwrap().into_iter();
        let mut paths: Vec<_> = files.map(|file| file.path).collect();
        paths.sort();
        paths
    }

    #[test]
    fn a_go_module_is_packaged_whole_and_named_by_its_import_path() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in [
            "cmd/notes/main.go",
            "notes.go",
            "vendor/x/x.go",
            ".git/HEAD",
        ] {
            write(root, path);
        }
        fs::write(
            root.join("go.mod"),
            "// ours\nmodule example.org/notes // v1\n",
        )
        .unwrap();
        let all = ["cmd/notes/main.go", "go.mod", "notes.go", "vendor/x/x.go"];
        for (within, path, metadata) in [
            ("", "example.org/notes", "META-INF"),
            (
                "cmd/notes",
                "example.org/notes/cmd/notes",
                "cmd/notes/META-INF",
            ),
        ] {
            let asked = root.join(within);
            let source = Source::of("golang", asked.to_str().unwrap()).unwrap();
            assert_eq!(source.path, path);
            assert_eq!(source.metadata, metadata);
            assert_eq!(paths(&source), all);
        }
    }

    #[test]
    fn other_languages_are_packaged_as_they_lie_there() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["index.js", "node_modules/x/index.js", "lib/a.js"] {
            write(folder.path(), path);
        }
        let path = folder.path().to_str().unwrap();
        let source = Source::of("node", path).unwrap();
        assert_eq!(
            (source.path.as_str(), source.metadata.as_str()),
            (path, "META-INF")
        );
        assert_eq!(paths(&source), ["index.js", "lib/a.js"]);
    }

    #[test]
    fn what_cannot_be_packaged_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for (language, path, reason) in [
            ("cobol", path, "unknown chaincodeType: COBOL"),
            ("golang", path, "found no go.mod in"),
            (
                "golang",
                "/nowhere/at/all",
                "lstat /nowhere/at/all: no such file",
            ),
        ] {
            let error = Source::of(language, path).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        let absent = Source::of("node", "/nowhere/at/all").unwrap();
        let error = absent.files().unwrap_err().to_string();
        assert_eq!(error, "lstat /nowhere/at/all: no such file or directory");
    }

    #[test]
    fn modules_are_named_with_and_without_quotes() {
        for (text, module) in [
            ("module a/b\n\ngo 1.21", Some("a/b")),
            ("module \"a\"", Some("a")),
            ("modules a", None),
            ("module // none", None),
        ] {
            assert_eq!(module_of(text).as_deref(), module, "{text}");
        }
    }
}
