//! What learning tells at its end.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::place::REPORT;
use crate::bank::Summary;
use crate::config::Horizon;

/// What was learnt.
#[derive(Debug, Clone, Serialize)]
pub struct Learnt {
    /// The folder of the detector.
    pub detector: String,
    /// Pictures that were learnt from, held-out ones included.
    pub pictures: usize,
    /// The score of its alarms.
    pub method: String,
    /// The bank.
    pub bank: Summary,
    /// Where the crops of its views belong, if the recipe asks for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Horizon>,
    /// What the footage lacks, for people.
    pub warnings: Vec<String>,
}

impl fmt::Display for Learnt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.detector)?;
        writeln!(f, "  pictures     {}, of them {} held out", self.pictures, self.bank.held_out_frames)?;
        writeln!(f, "  references   {} x {}", self.bank.rows, self.bank.stored_width)?;
        if let Some(horizon) = &self.horizon {
            writeln!(f, "  horizon      {horizon}")?;
        }
        for line in self.bank.thresholds.iter().filter(|line| line.method == self.method) {
            let sure = match line.counted {
                true => String::new(),
                false => format!(" ({}: too few held-out frames)", line.trust()),
            };
            let percent = 100.0 * line.false_frame_rate;
            writeln!(
                f,
                "  threshold    {:.3}: {percent} % of normal frames show a false region{sure}",
                line.threshold
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "  warning      {warning}")?;
        }
        writeln!(f, "  report       {}", Path::new(&self.detector).join(REPORT).display())?;
        writeln!(f, "  next         farout run '{}' --source rtsp://CAMERA", self.detector)
    }
}
