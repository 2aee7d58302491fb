//! Writes the manual pages and the completions of shells into a folder: what `scripts/package` puts into the package.
//!
//! ```sh
//! cargo run --example manuals -- target/package
//! ```

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use farout::cli::Cli;

fn main() -> anyhow::Result<()> {
    let out = std::env::args_os().nth(1).ok_or_else(|| anyhow::anyhow!("name the folder to write to"))?;
    let out = Path::new(&out);
    let pages = out.join("man");
    std::fs::create_dir_all(&pages)?;
    let mut command = Cli::command();
    command.build();
    page(&command, "farout", &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), "farout", out)?;
    }
    Ok(())
}

/// The page of a command, `farout-bank-build.1`, and those of all below it.
fn page(command: &Command, name: &str, folder: &Path) -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(command.clone()).title(name);
    let mut text = Vec::new();
    page.render(&mut text)?;
    std::fs::write(folder.join(format!("{name}.1")), text)?;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        self::page(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(())
}
