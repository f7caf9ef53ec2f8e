//! How resources are printed: table, yaml, json, name, custom-columns.

use crate::Error;
use crate::tables::{self, Column};
use model::Kind;
use serde_json::{Value, json};
use std::io::Write;

/// `-o`'s value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Table { wide: bool },
    Yaml,
    Json,
    Name,
    CustomColumns(Vec<String>),
}

impl Format {
    pub(crate) fn parse(text: &str) -> Result<Format, Error> {
        match text {
            "ps" => Ok(Format::Table { wide: false }),
            "wide" => Ok(Format::Table { wide: true }),
            "yaml" => Ok(Format::Yaml),
            "json" => Ok(Format::Json),
            "name" => Ok(Format::Name),
            _ => match text.strip_prefix("custom-columns=") {
                Some(columns) if !columns.is_empty() => {
                    let columns = columns.split(',').map(str::to_ascii_uppercase).collect();
                    Ok(Format::CustomColumns(columns))
                }
                _ => Err(Error::Invalid(format!(
                    "unrecognized output format '{text}'; it is one of ps, wide, yaml, json, name, \
                     custom-columns=NAME,…"
                ))),
            },
        }
    }
}

/// Prints resources of one kind. `single`: print the one resource as itself, not as a list.
pub(crate) fn print(
    kind: Kind,
    rows: &[Value],
    format: &Format,
    with_namespace: bool,
    single: bool,
) -> Result<(), Error> {
    let text = match format {
        Format::Table { wide } => {
            table(&tables::columns(kind, *wide, rows), rows, with_namespace)
        }
        Format::CustomColumns(wanted) => {
            table(&custom(kind, wanted, rows)?, rows, with_namespace)
        }
        Format::Yaml => yaml(&whole(kind, rows, single))?,
        Format::Json => {
            let whole = whole(kind, rows, single);
            let pretty = serde_json::to_string_pretty(&whole);
            pretty.map_err(|why| Error::Other(why.to_string()))? + "\n"
        }
        Format::Name => rows.iter().map(|row| name(kind, row) + "\n").collect(),
    };
    write_out(&text)
}

/// Writes to standard output; a reader that has gone (`| head`) is no error.
pub(crate) fn write_out(text: &str) -> Result<(), Error> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Other(format!("cannot write the output: {why}")))
        }
        _ => Ok(()),
    }
}

/// YAML with keys in alphabetical order, as Calico prints it.
pub(crate) fn yaml(value: &Value) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|why| Error::Other(why.to_string()))
}

fn name(kind: Kind, row: &Value) -> String {
    format!("{}/{}", kind.plural().trim_end_matches('s'), tables::text(&row["metadata"]["name"]))
}

fn whole(kind: Kind, rows: &[Value], single: bool) -> Value {
    match rows {
        [row] if single => row.clone(),
        rows => json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": format!("{}List", kind.name()),
            "metadata": {},
            "items": rows,
        }),
    }
}

fn custom(kind: Kind, wanted: &[String], rows: &[Value]) -> Result<Vec<Column>, Error> {
    let pick = |heading: &String| {
        let mut known = tables::columns(kind, true, rows);
        known.extend(tables::columns(kind, false, rows));
        let headings: Vec<&str> = known.iter().map(|column| column.heading).collect();
        let message = format!(
            "unknown column {heading} for {}; it has {}",
            kind.name(),
            headings.join(", ")
        );
        let found = known.into_iter().find(|column| column.heading == heading);
        found.ok_or(Error::Invalid(message))
    };
    wanted.iter().map(pick).collect()
}

/// Left-aligned columns three spaces apart, then an empty line.
fn table(columns: &[Column], rows: &[Value], with_namespace: bool) -> String {
    let mut writer = tabwriter::TabWriter::new(Vec::new()).minwidth(5).padding(3);
    let namespace = |row: &Value| tables::text(&row["metadata"]["namespace"]);
    let mut line = |cells: Vec<String>| {
        // Writing into memory cannot fail.
        let _infallible = writeln!(writer, "{}", cells.join("\t"));
    };
    let headings = columns.iter().map(|column| column.heading.to_owned());
    line(with_namespace.then(|| "NAMESPACE".to_owned()).into_iter().chain(headings).collect());
    for row in rows {
        let cells = columns.iter().map(|column| (column.cell)(row));
        line(with_namespace.then(|| namespace(row)).into_iter().chain(cells).collect());
    }
    let bytes = writer.into_inner().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let trimmed: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    format!("{trimmed}\n")
}

/// A boxed table, as `ipam show` and `node status` print it: headings centred, cells to the left.
pub(crate) fn boxed(headings: &[&str], rows: &[Vec<String>]) -> String {
    use comfy_table::{Cell, CellAlignment, Table, presets};
    let mut table = Table::new();
    table.load_preset(presets::ASCII_FULL_CONDENSED);
    let centred = |text: &&str| Cell::new(text).set_alignment(CellAlignment::Center);
    table.set_header(headings.iter().map(centred).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row);
    }
    format!("{table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn pool(name: &str, extra: Value) -> Value {
        let mut pool = json!({
            "metadata": {"name": name},
            "spec": {"cidr": "172.16.0.0/16", "natOutgoing": true, "ipipMode": "Always",
                     "vxlanMode": "Never", "nodeSelector": "all()"},
        });
        json_patch::merge(&mut pool, &extra);
        pool
    }

    #[test]
    fn the_pool_table_is_the_walkthroughs() {
        let rows = [pool("default-ipv4-ippool", json!({}))];
        expect![[r#"
            NAME                  CIDR            NAT    IPIPMODE   VXLANMODE   DISABLED   DISABLEBGPEXPORT   SELECTOR
            default-ipv4-ippool   172.16.0.0/16   true   Always     Never       false      false              all()

        "#]]
        .assert_eq(&table(&tables::columns(Kind::IpPool, true, &rows), &rows, false));
    }

    #[test]
    fn a_newer_column_comes_only_where_it_says_something() {
        let rows = [pool("a", json!({"spec": {"assignmentMode": "Manual"}}))];
        let text = table(&tables::columns(Kind::IpPool, true, &rows), &rows, false);
        assert!(text.contains("ASSIGNMENTMODE") && text.contains("Manual"), "{text}");
    }

    #[test]
    fn boxed_tables_are_the_walkthroughs() {
        let row = ["10.30.0.206", "node-to-node mesh", "up", "18:42:27", "Established"];
        let headings = ["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"];
        expect![[r#"
            +--------------+-------------------+-------+----------+-------------+
            | PEER ADDRESS |     PEER TYPE     | STATE |  SINCE   |    INFO     |
            +--------------+-------------------+-------+----------+-------------+
            | 10.30.0.206  | node-to-node mesh | up    | 18:42:27 | Established |
            +--------------+-------------------+-------+----------+-------------+
        "#]]
        .assert_eq(&boxed(&headings, &[row.map(str::to_owned).to_vec()]));
    }

    #[test]
    fn unknown_formats_and_columns_say_what_there_is() {
        assert!(Format::parse("xml").expect_err("xml").to_string().contains("custom-columns"));
        let error = custom(Kind::Node, &["COLOR".to_owned()], &[]).err().expect("no such column");
        assert!(error.to_string().contains("NAME, ASN, IPV4, IPV6"), "{error}");
    }
}
