//! Writes the types of ONNX's file format from `onnx.proto`, which is taken as it is from a release of ONNX (the
//! `onnx/onnx-ml.proto` of its Python package). A new release: put its file here and run this again.

use std::fs;
use std::path::Path;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = here.join("../../src/model/onnx/proto.rs");
    let described = protox::compile([here.join("onnx.proto")], [here])?;
    let folder = here.join("target/out");
    fs::create_dir_all(&folder)?;
    prost_build::Config::new().disable_comments(["."]).out_dir(&folder).compile_fds(described)?;
    let types = fs::read_to_string(folder.join("onnx.rs"))?;
    let opening = "//! The messages of `onnx.proto`, by tools/onnx-types. Do not edit.\n";
    fs::write(&home, format!("{opening}{types}")).with_context(|| format!("cannot write {}", home.display()))?;
    println!("{} lines in {}", types.lines().count(), home.display());
    Ok(())
}
