//! How resources are printed: table, yaml, json, name, custom-columns.

use crate::tables::{self, Column};
use crate::{Error, grid, yaml};
use model::Kind;
use serde_json::{Value, json};

/// `-o`'s value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Table { wide: bool },
    Yaml,
    Json,
    Name,
    CustomColumns(Vec<String>),
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "ps" => Ok(Format::Table { wide: false }),
            "wide" => Ok(Format::Table { wide: true }),
            "yaml" => Ok(Format::Yaml),
            "json" => Ok(Format::Json),
            "name" => Ok(Format::Name),
            _ => match text.strip_prefix("custom-columns=") {
                Some(columns) if !columns.is_empty() => {
                    let columns = columns.split(',').map(|name| name.trim().to_ascii_uppercase());
                    Ok(Format::CustomColumns(columns.collect()))
                }
                _ => {
                    Err("it is one of ps, wide, yaml, json, name, custom-columns=NAME,CIDR…".into())
                }
            },
        }
    }
}

/// Resources of one kind as text. `single`: the one resource as itself, not as a list.
pub(crate) fn render(
    kind: Kind,
    rows: &[Value],
    format: &Format,
    with_namespace: bool,
    single: bool,
) -> Result<String, Error> {
    Ok(match format {
        Format::Table { wide } => table(&tables::columns(kind, *wide, rows), rows, with_namespace),
        Format::CustomColumns(wanted) => table(&custom(kind, wanted, rows)?, rows, with_namespace),
        Format::Yaml => yaml::print(&whole(kind, rows, single)),
        Format::Json => format!("{:#}\n", whole(kind, rows, single)),
        Format::Name => {
            let kind = kind.name().to_ascii_lowercase();
            rows.iter().map(|row| format!("{kind}/{}\n", tables::name(row))).collect()
        }
    })
}

fn whole(kind: Kind, rows: &[Value], single: bool) -> Value {
    match rows {
        [row] if single => row.clone(),
        rows => json!({
            "apiVersion": model::resource::API_VERSION,
            "kind": format!("{}List", kind.name()),
            "metadata": {},
            "items": rows,
        }),
    }
}

fn custom(kind: Kind, wanted: &[String], rows: &[Value]) -> Result<Vec<Column>, Error> {
    let known = || {
        let mut known = tables::columns(kind, true, rows);
        let wide: Vec<&str> = known.iter().map(|column| column.heading).collect();
        let narrow = tables::columns(kind, false, rows);
        known.extend(narrow.into_iter().filter(|column| !wide.contains(&column.heading)));
        known
    };
    let pick = |heading: &String| {
        known().into_iter().find(|column| column.heading == heading).ok_or_else(|| {
            let headings: Vec<&str> = known().iter().map(|column| column.heading).collect();
            let (kind, headings) = (kind.name(), headings.join(", "));
            Error::Invalid(format!("unknown column {heading} for {kind}; it has {headings}"))
        })
    };
    wanted.iter().map(pick).collect()
}

/// The table, then an empty line.
fn table(columns: &[Column], rows: &[Value], with_namespace: bool) -> String {
    let namespace = |text: String| with_namespace.then_some(text).into_iter();
    let headings = columns.iter().map(|column| column.heading.to_owned());
    let mut lines = vec![namespace("NAMESPACE".to_owned()).chain(headings).collect()];
    lines.extend(rows.iter().map(|row| {
        let own = tables::text(&row["metadata"]["namespace"]);
        namespace(own).chain(columns.iter().map(|column| (column.cell)(row))).collect()
    }));
    grid::bare(&lines) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_newer_column_comes_only_where_it_says_something() {
        let spec = json!({"cidr": "10.0.0.0/8", "assignmentMode": "Manual"});
        let rows = [json!({"metadata": {"name": "a"}, "spec": spec})];
        let format = Format::CustomColumns(vec!["NAME".into(), "ASSIGNMENTMODE".into()]);
        expect![[r#"
            NAME   ASSIGNMENTMODE
            a      Manual

        "#]]
        .assert_eq(&render(Kind::IpPool, &rows, &format, false, false).expect("known columns"));
        let row = json!({"metadata": {"name": "a"}});
        assert!(render(Kind::IpPool, &[row], &format, false, false).is_err());
    }

    #[test]
    fn unknown_columns_say_what_there_is() {
        let format: Format = "custom-columns=name,color".parse().expect("a format");
        let error = render(Kind::Node, &[], &format, false, false).expect_err("no such column");
        assert!(
            error.to_string().contains("COLOR for Node; it has NAME, ASN, IPV4, IPV6"),
            "{error}"
        );
    }
}
