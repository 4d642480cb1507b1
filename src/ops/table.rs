//! Results for people: columns of text, aligned.

use std::io::{self, Write as _};

/// Prints rows, with as much room for each column as its longest text needs.
///
/// # Errors
/// When standard output is closed.
pub fn print<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> io::Result<()> {
    io::stdout().lock().write_all(lines(rows).as_bytes())
}

fn lines<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [_; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let rows = [["a", "b", "c"], ["äöü", "", "x"], ["", "long", ""]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(lines(&rows), "a    b     c\näöü        x\n     long\n");
    }
}
