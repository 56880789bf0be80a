//! Writes the inputs that fuzzing begins with to `fuzz/seeds`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let mut bytes = 0;
    for (target, name, content) in consilium_fuzzing::seeds::all().into_iter().flatten() {
        let folder = root.join(target);
        std::fs::create_dir_all(&folder)?;
        bytes += content.len();
        std::fs::write(folder.join(name), content)?;
    }
    println!("{bytes} bytes");
    Ok(())
}
