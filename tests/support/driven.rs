//! A farout that watches a synthetic drive with the shipped model and bank, as the tests of the HTTP server meet it.

use std::path::Path;

use super::program::{Running, program};

/// Watches a drive of 12 pictures a second, called "front", with these further sections of the configuration in `folder`.
pub fn driven(folder: &Path, http: u16, sections: &str) -> Running {
    driven_at(folder, http, 12, sections)
}

/// As [`driven`], at so many pictures a second.
pub fn driven_at(folder: &Path, http: u16, fps: u32, sections: &str) -> Running {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = format!(
        r#"
        [[stream]]
        name = "front"
        source = "synthetic:seed=4711,fps={fps}"
        [model]
        path = "{model}"
        [bank]
        path = "{bank}"
        [output]
        rtsp = "off"
        http = "http://127.0.0.1:{http}"
        {sections}
        "#,
        model = root.join("models/synthetic-vit.onnx").display(),
        bank = root.join("models/synthetic.bank").display(),
    );
    std::fs::write(folder.join(CONFIG), text).unwrap();
    again(folder)
}

/// The configuration's name in its folder.
pub const CONFIG: &str = "car.toml";

/// Watches by the configuration that is in `folder`.
pub fn again(folder: &Path) -> Running {
    let mut command = program();
    command.args(["run", "-c"]).arg(folder.join(CONFIG));
    Running::start(command)
}
