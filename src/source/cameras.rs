//! Cameras: which ones are there, and how they are asked for what the config wishes.

use std::path::{Path, PathBuf};

use super::config::SourceConfig;
use super::natural_order;

/// The video devices of this machine with the names that the kernel gives them.
pub(super) fn list() -> Vec<(PathBuf, String)> {
    let Ok(entries) = std::fs::read_dir("/dev") else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("video"))
        .map(|entry| {
            let file = entry.file_name();
            let name = std::fs::read_to_string(Path::new("/sys/class/video4linux").join(&file).join("name"));
            (entry.path(), name.map(|n| n.trim().to_owned()).unwrap_or_default())
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| natural_order::compare(&a.to_string_lossy(), &b.to_string_lossy()));
    found
}

/// Why a camera cannot be used and which ones could, if it is not there.
pub(super) fn absent(device: &Path) -> Option<String> {
    if device.exists() {
        return None;
    }
    let others: Vec<String> =
        list().iter().map(|(path, name)| format!("v4l2://{} ({name})", path.display())).collect();
    let others = if others.is_empty() {
        "no camera is connected".into()
    } else {
        format!("there are: {}", others.join(", "))
    };
    Some(format!("there is no such camera; {others}. `wait = true` waits for it"))
}

/// Launch description of a V4L2 camera.
pub(super) fn v4l2(device: &Path, config: &SourceConfig) -> String {
    let device = device.display();
    match wishes(config) {
        // Cameras give their largest and fastest pictures only as JPEG or H.264.
        Some(w) => format!(
            "v4l2src device=\"{device}\" ! capsfilter caps=\"video/x-raw{w}; image/jpeg{w}; video/x-h264{w}\""
        ),
        None => format!("v4l2src device=\"{device}\""),
    }
}

/// Launch description of a CSI camera on a Jetson.
pub(super) fn csi(sensor: u32, config: &SourceConfig) -> String {
    let wishes = wishes(config).unwrap_or_default();
    format!(
        "nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM){wishes} ! nvvidconv ! video/x-raw,format=I420"
    )
}

/// The wishes as fields of caps.
fn wishes(config: &SourceConfig) -> Option<String> {
    let mut fields = String::new();
    if config.width > 0 {
        fields += &format!(",width={}", config.width);
    }
    if config.height > 0 {
        fields += &format!(",height={}", config.height);
    }
    if config.fps > 0.0 {
        let (numerator, denominator) = if config.fps.fract() == 0.0 {
            (config.fps as u32, 1)
        } else {
            ((config.fps * 1001.0).round() as u32, 1001)
        };
        fields += &format!(",framerate={numerator}/{denominator}");
    }
    (!fields.is_empty()).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_become_caps() {
        let config = SourceConfig { width: 1280, height: 720, fps: 29.97, ..SourceConfig::default() };
        assert_eq!(wishes(&config).unwrap(), ",width=1280,height=720,framerate=30000/1001");
        assert_eq!(
            v4l2(Path::new("/dev/video0"), &SourceConfig::default()),
            "v4l2src device=\"/dev/video0\""
        );
        assert!(csi(1, &config).contains("sensor-id=1 ! video/x-raw(memory:NVMM),width=1280"));
    }

    #[test]
    fn an_absent_camera_is_explained() {
        let why = absent(Path::new("/dev/video-none")).unwrap();
        assert!(why.contains("no such camera") && why.contains("wait = true"), "{why}");
    }
}
