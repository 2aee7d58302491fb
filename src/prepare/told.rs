//! What is told of a prepared model to a person.

use std::fmt;

use super::report::giga;
use super::write::Prepared;

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {:.1} MB", self.file, self.bytes as f64 / 1e6)?;
        writeln!(f, "  input     {}, {}", self.size, self.normalisation)?;
        let (rows, cols) = self.grid;
        writeln!(f, "  features  {}: [1, {rows}, {cols}, {}]", self.features.join(" + "), self.width)?;
        for (selector, by) in self.features.iter().zip(&self.found_by) {
            writeln!(f, "            {selector} found by: {by}")?;
        }
        if let Some(head) = &self.head {
            let miou = head
                .held_out_miou
                .as_ref()
                .map_or_else(String::new, |miou| format!(", held-out mIoU {miou}"));
            writeln!(
                f,
                "  logits    {} classes, from the head {} on {}{miou}",
                head.classes,
                head.file,
                head.features.join(" + ")
            )?;
            writeln!(
                f,
                "  checked   head: differs from its training by at most {:.1e} of the largest logit",
                head.differs_from_training
            )?;
        }
        match &self.logits {
            Some(logits) => writeln!(
                f,
                "  logits    {} classes, from {}{}",
                logits.classes(),
                logits.tensors().join(" and "),
                self.logits_before.as_ref().map_or_else(String::new, |op| format!(" (before the {op})"))
            )?,
            None if self.head.is_some() => {}
            None => writeln!(f, "  logits    none")?,
        }
        writeln!(f, "  nodes     {}, were {}", self.nodes.1, self.nodes.0)?;
        writeln!(f, "  cost      {} per frame, was {}", giga(self.macs.1), giga(self.macs.0))?;
        for one in &self.compared {
            writeln!(
                f,
                "  checked   {}: differs from the original by at most {:.1e} of {:.2} on {}",
                one.output,
                one.largest_difference,
                one.largest_number,
                one.pictures.join(", ")
            )?;
        }
        if let Some(told) = &self.quantized {
            let (floats, integers) = told.run_ms;
            writeln!(
                f,
                "  integers  {} products ({} stay in floats), {:.1} MB were {:.1} MB; a run takes {integers:.1} ms, took {floats:.1} ms",
                told.products,
                told.left,
                self.bytes as f64 / 1e6,
                told.bytes_before as f64 / 1e6,
            )?;
            if told.saturates {
                writeln!(
                    f,
                    "            signed 8-bit products saturate on this processor (no VNNI): farout takes the weights as unsigned, other programs may not"
                )?;
            }
            for one in &told.effects {
                writeln!(
                    f,
                    "            {}: {:.2} % off (relative L2) on {}",
                    one.output,
                    100.0 * one.relative_l2,
                    one.picture
                )?;
            }
            if let Some(one) = &told.distances {
                let whose = if one.other_pictures { "of the other pictures" } else { "of the same picture" };
                writeln!(
                    f,
                    "            distances of {} patches ({} {}) to the 3 nearest of {} {whose}:",
                    one.patches,
                    one.pictures,
                    if one.pictures == 1 { "picture" } else { "pictures" },
                    one.references
                )?;
                for (bank, change) in [("its own", one.own_bank), ("the floats'", one.former_bank)] {
                    writeln!(
                        f,
                        "              references by {bank:<11} {:.2} % off, {:.3} times as long, rank correlation {:.4}",
                        100.0 * change.relative_error,
                        change.ratio,
                        change.rank_correlation
                    )?;
                }
            }
        }
        for (selector, outputs) in &self.other_heads {
            let outputs = outputs.join(", ");
            writeln!(f, "  note      there is another head, {outputs}: choose it with --logits {selector}")?;
        }
        if self.size_assumed {
            writeln!(
                f,
                "  note      the file takes any size: this one was chosen; choose another with --size WxH"
            )?;
        }
        if self.normalisation_assumed {
            writeln!(
                f,
                "  note      ImageNet's mean and std are assumed; if the model was trained with others, give --mean and --std"
            )?;
        }
        Ok(())
    }
}
