//! The documentation: every link leads somewhere, every page is in the book, and the configuration reference is that of
//! `configs/full.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// README, change log and all pages.
fn pages() -> Vec<PathBuf> {
    let mut pages =
        vec![root().join("README.md"), root().join("CHANGELOG.md"), root().join("models/README.md")];
    for folder in ["docs", "docs/results"] {
        let files = root().join(folder).read_dir().unwrap().map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    pages
}

/// The text without blocks of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Where the links and pictures of a page lead.
fn links(text: &str) -> Vec<String> {
    let text = prose(text);
    let mut found = Vec::new();
    for (at, _) in text.match_indices("](") {
        let rest = &text[at + 2..];
        // What stands in backticks is no link.
        let line = text[..at].rsplit('\n').next().unwrap_or("");
        if line.matches('`').count().is_multiple_of(2) {
            found.push(rest[..rest.find(')').expect("a link that does not end")].to_owned());
        }
    }
    found
}

/// The name by which GitHub and mdBook link to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept: String = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
    kept.replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for link in links(&read(&page)).iter().filter(|link| !link.contains("://")) {
            seen += 1;
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let reached =
                target.exists() && (heading.is_empty() || anchors(&read(&target)).contains(heading));
            if !reached {
                wrong.push(format!("{} -> {link}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty() && seen > 50, "of {seen} links these lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn the_book_has_every_page() {
    let docs = root().join("docs");
    let summary: BTreeSet<PathBuf> =
        links(&read(&docs.join("SUMMARY.md"))).iter().map(|link| docs.join(link)).collect();
    for page in pages().into_iter().filter(|page| page.starts_with(&docs) && !page.ends_with("SUMMARY.md")) {
        assert!(summary.contains(&page), "docs/SUMMARY.md lacks {}", page.display());
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= 110, "README.md has {lines} lines; what is longer belongs into docs/");
}

/// `configs/full.toml` as a page: its sections as headings, its keys as tables.
fn reference(full: &str) -> String {
    let mut page = String::from(
        "# Configuration\n\nMade of `configs/full.toml`, which has every key at its default and can be copied. \
         Flags win over the file. A key that does not exist is an error that names file and line. Paths are relative to the file's folder.\n",
    );
    let (mut about, mut keys): (Vec<&str>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    let table = |keys: &mut Vec<(String, String)>| -> String {
        let rows: String = keys.drain(..).map(|(key, about)| format!("| {key} | {about} |\n")).collect();
        if rows.is_empty() { rows } else { format!("\n| key and default | meaning |\n|---|---|\n{rows}") }
    };
    let (mut last, mut sub): (Option<String>, String) = (None, String::new());
    for line in full.lines().skip(2) {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_key = |text: &str| {
            text.split_once(" = ").is_some_and(|(key, _)| {
                !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
            })
        };
        let in_comment = line.starts_with('#');
        if line.is_empty() {
            continue;
        } else if !in_comment && line.starts_with('[') {
            page.push_str(&table(&mut keys));
            let name = line.trim_matches(['[', ']']);
            page.push_str(&format!("\n## [{name}]\n\n{}\n", cell(&about)));
            about.clear();
            (last, sub) = (None, String::new());
        } else if in_comment && bare.starts_with('[') && bare.ends_with(']') && !bare.contains(' ') {
            // A table that is shown as a comment: what was said so far is about it.
            sub = format!("{bare} ");
        } else if is_key(bare) && !bare.starts_with(' ') {
            let shown = if in_comment { format!("`{sub}{bare}` (unset)") } else { format!("`{bare}`") };
            let meaning = match (about.is_empty(), &last) {
                (true, Some(same)) => same.clone(),
                _ => cell(&about),
            };
            about.clear();
            last = Some(meaning.clone());
            keys.push((shown, meaning));
        } else if in_comment {
            about.push(bare.trim_start_matches('#'));
        }
    }
    page + &table(&mut keys)
}

/// Lines of a comment as text of a table's cell.
fn cell(lines: &[&str]) -> String {
    let (mut text, mut in_list) = (String::new(), false);
    for line in lines {
        // Entries of a list are indented by two, their further lines by more.
        let indented = line.starts_with("  ");
        let entry = if indented { !line.starts_with("   ") } else { in_list };
        in_list = indented;
        let line = line.trim().replace('|', "\\|").replace('<', "&lt;");
        text.push_str(if text.is_empty() {
            ""
        } else if entry {
            "<br>"
        } else {
            " "
        });
        text.push_str(&line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    text
}

#[test]
fn the_configuration_reference_is_that_of_the_full_file() {
    let full = read(&root().join("configs/full.toml"));
    let made = reference(&full);
    let path = root().join("docs/configuration.md");
    if std::env::var_os("FAROUT_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(
        read(&path) == made,
        "docs/configuration.md is not made of configs/full.toml: run FAROUT_WRITE_DOCS=1 cargo test --test suite documents"
    );
    let keys: toml::Table = full.parse().unwrap();
    let section = keys["score"].as_table().unwrap();
    for key in section.keys() {
        assert!(made.contains(&format!("`{key} = ")), "the page lacks score.{key}");
    }
}
