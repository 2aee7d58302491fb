//! The page around the sections: escaping, tables, style. Nothing is loaded from anywhere.

use std::fmt::Write;

use super::plot::{COLOURS, COLOURS_ON_DARK};

/// Text as HTML.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// A whole page.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{}</title><style>{}</style></head>\n\
         <body><main>{body}</main></body></html>\n",
        escape(title),
        style()
    )
}

/// A table with a heading row; the first column is text, the others numbers. Cells are HTML.
pub fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"scroll\"><table><thead><tr>");
    for column in columns {
        let _ = write!(out, "<th>{}</th>", escape(column));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let tag = if i == 0 { "th" } else { "td" };
            let _ = write!(out, "<{tag}>{cell}</{tag}>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// A section with its heading; what explains it stands below the heading.
pub fn section(heading: &str, explained: &str, body: &str) -> String {
    format!(
        "<section><h2>{}</h2><p class=\"note\">{}</p>{body}</section>",
        escape(heading),
        escape(explained)
    )
}

fn style() -> String {
    let colours = |set: &[[u8; 3]; 7]| {
        let mut text = String::new();
        for (i, [r, g, b]) in set.iter().enumerate() {
            let _ = write!(text, "--c{i}:rgb({r},{g},{b});");
        }
        text
    };
    let mut style = format!(
        ":root{{--bg:#fdfdfc;--ink:#1c1c1a;--soft:#5d5d58;--line:#dcdcd6;--card:#f4f4f0;--grid:#e6e6e0;{}}}\
         @media(prefers-color-scheme:dark){{:root{{--bg:#161618;--ink:#ececea;--soft:#a3a39d;--line:#37373a;\
         --card:#202023;--grid:#2e2e31;{}}}}}",
        colours(&COLOURS),
        colours(&COLOURS_ON_DARK)
    );
    style.push_str(RULES);
    for i in 0..COLOURS.len() {
        let _ = write!(
            style,
            ".s{i}{{stroke:var(--c{i})}}.f{i}{{fill:var(--c{i})}}.t{i}{{background:var(--c{i})}}"
        );
    }
    style
}

const RULES: &str = "\
*{box-sizing:border-box}\
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}\
main{max-width:1180px;margin:0 auto;padding:20px 16px 60px}\
h1{font-size:1.6rem;line-height:1.25;margin:.2em 0}h2{font-size:1.2rem;margin:2.2em 0 .2em}h3{font-size:1rem;margin:1.4em 0 .4em}\
.note{color:var(--soft);margin:.1em 0 .8em;max-width:75ch}\
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:10px;margin:16px 0}\
.card{background:var(--card);border-radius:8px;padding:10px 12px}\
.card b{display:block;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums}.card span{color:var(--soft);font-size:.85rem}\
.scroll{overflow-x:auto;margin:.4em 0}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}\
th,td{padding:5px 12px 5px 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top}\
th:first-child{text-align:left;font-weight:600}thead th{font-weight:600;color:var(--soft);vertical-align:bottom}\
small{display:block;color:var(--soft);font-size:.8rem}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:18px;align-items:start}\
.plots>*{max-width:560px;width:100%}\
svg.plot{width:100%;height:auto;display:block}\
svg.plot text{font:11px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:var(--ink)}\
svg.plot text.title{font-size:13px;font-weight:600}\
.axis{stroke:var(--soft)}.grid{stroke:var(--grid)}.mark{stroke:var(--soft);stroke-dasharray:3 3}\
figure{margin:0 0 18px}figcaption{margin:0 0 4px;font-size:.9rem}figcaption span{color:var(--soft)}\
.panels{display:grid;grid-template-columns:repeat(4,1fr);gap:6px}.panels img{width:100%;height:auto;display:block;border-radius:3px}\
@media(max-width:700px){.panels{grid-template-columns:repeat(2,1fr)}}\
.regions{display:grid;grid-template-columns:repeat(3,1fr);gap:3px;max-width:400px}\
.regions div{position:relative;background:var(--card);border-radius:4px;padding:8px 6px 10px;text-align:center;font-variant-numeric:tabular-nums}\
.bar{display:block;height:5px;border-radius:2px;margin-top:4px;min-width:1px}\
details{margin:.6em 0}summary{cursor:pointer;color:var(--soft)}\
pre{background:var(--card);padding:12px;border-radius:8px;overflow:auto;font-size:.8rem;max-height:480px}\
.hash{font-family:ui-monospace,monospace;font-size:.8rem;overflow-wrap:anywhere;white-space:normal;text-align:left}\
.left th:last-child{text-align:left}.left td:last-child{text-align:left;white-space:normal;min-width:240px}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
        let page = page("a <b>", &section("h & h", "n", &table(&["x<"], &[vec!["1".into()]])));
        assert!(
            page.contains("<title>a &lt;b&gt;</title>")
                && page.contains("h &amp; h")
                && page.contains("x&lt;")
        );
        for outside in ["http://", "https://", "url(", "@import", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
