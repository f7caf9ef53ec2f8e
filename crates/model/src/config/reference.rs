//! The registry as a page for people.

use super::definition::Definition;
use super::definitions;
use std::fmt::Write;

/// The reference of all parameters in Markdown: those acted on with what they do, then the others.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration parameters\n\n\
         The node agent reads variables from its environment, and fields from the resources of \
         kind FelixConfiguration.\n\
         Where several places set a parameter, the first of these counts: the variable; the \
         FelixConfiguration named\n\
         `node.<name>`; one whose `nodeSelector` selects the node (the oldest); the one named \
         `default`; the default below.\n\n\
         This page is made from the registry in `crates/model/src/config`; after a change there: \
         `UPDATE_EXPECT=1 cargo test -p model`.\n",
    );
    let (acted_on, recognised): (Vec<_>, Vec<_>) = definitions().partition(|d| d.acted_on);
    table(&mut page, "Acted on", "Meaning", &acted_on);
    table(&mut page, "Recognised, not acted on", "Meaning", &recognised);
    page
}

fn table(page: &mut String, title: &str, about: &str, rows: &[&Definition]) {
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n## {title}\n\n| Variable | FelixConfiguration field | Takes | Default | {about} |\n\
         |---|---|---|---|---|\n"
    );
    for row in rows {
        let cell = |text: &str| text.replace('|', "\\|");
        let code = |text: &str| {
            if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            code(&row.variable()),
            code(row.field.unwrap_or_default()),
            cell(&row.value_type.describe()),
            code(row.default),
            cell(row.doc),
        );
    }
}
