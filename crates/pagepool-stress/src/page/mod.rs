//! The page of `--report`: what was found and how it came to that, to look at in a browser.
//!
//! One file that needs no other and no network. Its data is the report and the [recordings](crate::record), as JSON in
//! a script element that is not run; the script in `assets/page` draws it with
//! [uPlot](https://github.com/leeoniya/uPlot), which stands in the page as it was released, with its licence. Text of
//! users, such as file names, is only ever JSON here and text nodes there, never markup.
#![forbid(unsafe_code)]

mod place; // the folder

use std::fmt::Write;

use serde::Serialize;

pub(crate) use self::place::PagePlace;
use crate::{record::Recording, report::Report};

const TEMPLATE: &str = include_str!("../../assets/page.html");
const STYLE: &str = include_str!("../../assets/page.css");
/// The body of one function, whose parts see what stands in those before.
const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("../../assets/page/data.js"),
    include_str!("../../assets/page/words.js"),
    include_str!("../../assets/page/figures.js"),
    include_str!("../../assets/page/plot.js"),
    include_str!("../../assets/page/plots.js"),
    include_str!("../../assets/page/film.js"),
    include_str!("../../assets/page/map.js"),
    include_str!("../../assets/page/page.js"),
    "})();\n",
);
const UPLOT_STYLE: &str = include_str!("../../assets/uplot/uPlot.min.css");
const UPLOT_SCRIPT: &str = include_str!("../../assets/uplot/uPlot.iife.min.js");
const UPLOT_LICENCE: &str = include_str!("../../assets/uplot/LICENSE");

/// What the page shows.
#[derive(Debug, Serialize)]
struct Data<'a> {
    version: &'static str,
    report: &'a Report,
    recordings: Vec<Recording>,
}

/// The data as JSON.
fn data(report: &Report, recordings: Vec<Recording>) -> String {
    let data = Data {
        version: env!("CARGO_PKG_VERSION"),
        report,
        recordings,
    };
    serde_json::to_string(&data).expect("a report has plain keys")
}

/// The page that shows `data`.
fn page(title: &str, data: &str) -> String {
    let parts = [
        ("TITLE", escaped(title)),
        ("LICENCE", escaped(UPLOT_LICENCE)),
        ("UPLOT_STYLE", UPLOT_STYLE.to_owned()),
        ("STYLE", STYLE.to_owned()),
        ("DATA", inert(data)),
        ("UPLOT_SCRIPT", UPLOT_SCRIPT.to_owned()),
        ("SCRIPT", SCRIPT.to_owned()),
    ];
    fill_in(TEMPLATE, &parts)
}

/// The template with each `{{NAME}}` replaced, once; what is put in is not looked at again.
fn fill_in(template: &str, parts: &[(&str, String)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("the template is sound");
        let part = parts.iter().find(|(known, _)| *known == name);
        page.push_str(before);
        page.push_str(&part.expect("the template is sound").1);
        rest = after;
    }
    page + rest
}

/// JSON that ends no element and begins none.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '<' | '>' | '"' | '\'' => {
                write!(html, "&#{};", u32::from(letter)).expect("a string takes all");
            }
            letter => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_everything_and_asks_for_nothing() {
        let html = page("pagepool-stress run", r#"{"a":1}"#);
        assert!(html.contains("<title>pagepool-stress run</title>"));
        assert!(
            html.contains(r#"{"a":1}"#)
                && html.contains(UPLOT_SCRIPT)
                && html.contains("Leon Sorokin")
        );
        for outside in [
            "src=",
            "href=\"http",
            "url(",
            "@import",
            "fetch(",
            "XMLHttpRequest",
        ] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert_eq!(html.matches("</script").count(), 3, "data, library, ours");
    }

    #[test]
    fn text_of_users_stays_text() {
        let html = page(
            "<b>&",
            r#"{"file":"</script><script>alert(1)</script>{{STYLE}}"}"#,
        );
        assert!(html.contains("<title>&#60;b&#62;&#38;</title>"));
        assert!(!html.contains("<script>alert"));
        assert!(html.contains(r"\u003c/script>\u003cscript>alert(1)\u003c/script>{{STYLE}}"));
    }
}
