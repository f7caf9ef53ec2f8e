//! Tables of text, as Calico prints them: bare columns for `get`, boxes for `ipam` and `node`.

/// Spaces between bare columns.
const GAP: usize = 3;
/// The least a bare column takes with its gap.
const WIDTH_MIN: usize = 5;

/// Columns to the left, each as wide as its widest cell; the last is not padded.
pub(crate) fn bare(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    let line = |row: &Vec<String>| {
        let pad = |(column, cell): (usize, &String)| {
            let width = (widths[column] + GAP).max(WIDTH_MIN);
            format!("{cell:<width$}")
        };
        let cells: String = row.iter().enumerate().map(pad).collect();
        format!("{}\n", cells.trim_end())
    };
    rows.iter().map(line).collect()
}

/// A box: headings centred, numbers to the right, other cells to the left.
pub(crate) fn boxed(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    let every: Vec<Vec<String>> = std::iter::once(&headings).chain(rows).cloned().collect();
    let widths = widths(&every);
    let bar: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
    let line = |row: &[String], pad: fn(&str, usize) -> String| {
        let cells = row.iter().zip(&widths);
        let cells: String =
            cells.map(|(cell, width)| format!("| {} ", pad(cell, *width))).collect();
        format!("{cells}|\n")
    };
    let body: String = rows.iter().map(|row| line(row, aligned)).collect();
    format!(
        "{bar}+\n{}{bar}+\n{body}{bar}+\n",
        line(&headings, |cell, width| format!("{cell:^width$}"))
    )
}

fn aligned(cell: &str, width: usize) -> String {
    let number = !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit());
    if number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widest =
        |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max();
    (0..columns).map(|column| widest(column).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn boxes_are_the_walkthroughs() {
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
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "B"], ["", "pódium"], ["long cell", "c"]];
        let rows: Vec<Vec<String>> = rows.map(|row| row.map(str::to_owned).to_vec()).to_vec();
        expect![[r#"
            A           B
                        pódium
            long cell   c
        "#]]
        .assert_eq(&bare(&rows));
    }
}
