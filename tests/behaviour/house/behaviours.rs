//! Keeps docs/behaviours.md true: each row that a test names is explained there, once, in ascending order.

use std::{collections::BTreeSet, fs, path::Path};

/// A row by its kind and number: `B31`, or a decision, `V3`.
type Row = (char, u16);

#[test]
fn every_row_that_a_test_names_is_explained() {
    let explained: BTreeSet<_> = tables().concat().into_iter().collect();
    let mut named = BTreeSet::new();
    for (file, text) in ["tests", "src", "docs", "README.md"].iter().flat_map(|path| texts(&root().join(path))) {
        let names = text.split("fn ").skip(1).flat_map(rows_of_name);
        for row in names.chain(rows_of_text(&text)) {
            assert!(explained.contains(&row), "{file}: {}{} is no row of docs/behaviours.md", row.0, row.1);
            if file.ends_with(".rs") {
                named.insert(row);
            }
        }
    }
    assert!(named.len() > 150, "only {} rows are named: what the tests say was not found", named.len());
}

#[test]
fn no_row_is_explained_more_than_once() {
    let mut seen = BTreeSet::new();
    for row in tables().concat() {
        assert!(seen.insert(row), "docs/behaviours.md explains {}{} a second time", row.0, row.1);
    }
}

#[test]
fn the_rows_of_each_table_ascend() {
    for table in tables() {
        assert!(table.is_sorted(), "a table of docs/behaviours.md is out of order: {table:?}");
    }
}

#[test]
fn rows_are_found_in_names_and_texts() {
    for (name, rows) in [
        ("b31_a_server()", &[('B', 31)][..]),
        ("b45_b46_names()", &[('B', 45), ('B', 46)]),
        ("b2_b7_to_b9_v10_url()", &[('B', 2), ('B', 7), ('B', 8), ('B', 9), ('V', 10)]),
        ("b16_to_the_end()", &[('B', 16)]),
        ("bind_2()", &[]),
        ("b()", &[]),
    ] {
        assert_eq!(rows_of_name(name), rows, "{name}");
    }
    let text = "(B7): B8, B10-B12 V1; B1x AB2 B_3 b4 B<n>";
    assert_eq!(rows_of_text(text), [('B', 7), ('B', 8), ('B', 10), ('B', 11), ('B', 12), ('V', 1)]);
}

/// The rows of each table of docs/behaviours.md that has any.
fn tables() -> Vec<Vec<Row>> {
    let page = fs::read_to_string(root().join("docs/behaviours.md")).unwrap();
    let tables: Vec<_> = page.split("\n\n").map(|part| part.lines().filter_map(first_cell).collect()).collect();
    tables.into_iter().filter(|rows: &Vec<_>| !rows.is_empty()).collect()
}

fn first_cell(line: &str) -> Option<Row> {
    row(line.strip_prefix("| ")?.split_once(" |")?.0, ['B', 'V'])
}

/// The rows that a function's name begins with; `b44_to_b49` is all from the first to the last.
fn rows_of_name(name: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut words = name.split(ends_word).next().unwrap_or_default().split('_');
    while let Some(word) = words.next() {
        match (row(word, ['b', 'v']), rows.last()) {
            (Some(row), _) => rows.push(row),
            (None, Some(&(kind, first))) if word == "to" => {
                let Some((_, last)) = words.next().and_then(|word| row(word, ['b', 'v'])) else { break };
                rows.extend((first + 1..=last).map(|number| (kind, number)));
            }
            _ => break,
        }
    }
    rows
}

/// The rows that a text names as `B31`; `B44-B49` is all from the first to the last.
fn rows_of_text(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut before = None;
    for word in text.split_inclusive(ends_word) {
        let found = row(word.trim_end_matches(ends_word), ['B', 'V']);
        match (before, found) {
            (Some((kind, first)), Some((_, last))) => rows.extend((first + 1..=last).map(|number| (kind, number))),
            _ => rows.extend(found),
        }
        before = found.filter(|_| word.ends_with('-'));
    }
    rows
}

fn ends_word(c: char) -> bool {
    c != '_' && !c.is_alphanumeric()
}

/// A row whose kind is written as one of two letters.
fn row(word: &str, kinds: [char; 2]) -> Option<Row> {
    let kind = word.chars().next().filter(|kind| kinds.contains(kind))?;
    let digits = word[1..].bytes().all(|byte| byte.is_ascii_digit());
    Some((kind.to_ascii_uppercase(), word[1..].parse().ok().filter(|_| digits)?))
}

/// A file, or the sources and pages below a directory: path and content.
fn texts(path: &Path) -> Vec<(String, String)> {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().flat_map(|entry| texts(&entry.unwrap().path())).collect();
    }
    let is_text = path.extension().is_some_and(|extension| extension == "rs" || extension == "md");
    is_text.then(|| (path.display().to_string(), fs::read_to_string(path).unwrap())).into_iter().collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
