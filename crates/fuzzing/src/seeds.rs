//! Making the inputs that fuzzing begins with: `cargo run -p consilium-fuzzing --example seeds`.
//!
//! Small real messages: of the channel that two Fabric peers recorded where they are about
//! identities and signatures, else made here. Kept below `fuzz/seeds`; made again only when a
//! target reads its input differently.

mod made;
mod recorded;

/// An input: name of the target, name of the file, content.
pub type Seed = (&'static str, String, Vec<u8>);

/// All of them; `None` without the recording.
pub fn all() -> Option<Vec<Seed>> {
    let recording = consilium_testkit::recorded::Recording::open()?;
    let mut seeds = recorded::seeds(&recording);
    seeds.extend(made::seeds());
    Some(seeds)
}

fn seed(target: &'static str, name: &str, content: impl Into<Vec<u8>>) -> Seed {
    (target, name.to_owned(), content.into())
}

/// An input whose first byte says what follows.
fn kind(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind], content].concat()
}
