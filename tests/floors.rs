//! Keeps the crate's floors true: imports point down only, and the drawing in `docs/architecture.md` names what there is.

use std::{collections::BTreeMap, fs, path::Path};

use syn::visit::{self, Visit};

/// The floor of each folder and file in `src`. The root, `lib.rs`, stands above all.
const FLOORS: &[(&str, u8)] = &[
    ("limits", 0),
    ("close", 0),
    ("config", 0),
    ("error", 0),
    ("message", 0),
    ("stats", 0),
    ("stopwatch", 0),
    ("sync", 0),
    ("trace", 0),
    ("wire", 1),
    ("protocol", 2),
    ("connection", 3),
    ("handshake", 3),
    ("proxy", 3),
    ("transport", 3),
    ("client", 4),
    ("driver", 4),
    ("fuzzing", 4),
    ("message_reader", 4),
    ("split", 4),
    ("message_writer", 4),
    ("stream", 4),
    ("upgraded", 4),
    ("compat", 5),
    ("reconnect", 6),
    ("guide", 6),
];

/// In this folder a file does not know its siblings: only `mod.rs` ties them together.
const STRANGERS: &str = "protocol";

#[test]
fn everything_in_src_stands_on_a_floor() {
    let mut names: Vec<String> = sources().into_keys().map(|file| place(&file).to_owned()).collect();
    names.dedup();
    let mut floors: Vec<&str> = FLOORS.iter().map(|(name, _)| *name).chain(["lib"]).collect();
    floors.sort_unstable();
    assert_eq!(names, floors, "FLOORS of tests/floors.rs and src differ");
}

#[test]
fn imports_point_down() {
    let wrong: Vec<_> = sources().iter().flat_map(|(file, source)| pointing_up(file, source)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_that_points_up_is_found() {
    for (file, source) in [
        ("message.rs", "use crate::protocol::Protocol;"),
        ("message.rs", "use crate::{close::CloseCode, protocol::{inbound}};"),
        ("message.rs", "fn f() { vec![g(crate::protocol::LIMIT)]; }"),
        ("message.rs", "fn f() -> crate::protocol::Protocol { loop {} }"),
        ("message.rs", "use super::protocol::Protocol;"),
        ("message.rs", "mod tests { use super::super::protocol::Protocol; }"),
        ("message.rs", "use crate::Message;"),
        ("message.rs", "use crate::*;"),
        ("protocol/inbound/mod.rs", "use crate::protocol::outbound::Outbound;"),
        ("protocol/inbound/mod.rs", "use super::outbound::Outbound;"),
        ("protocol/pings.rs", "use super::Protocol;"),
        ("protocol/outbound/burst.rs", "use super::ledger::Ledger;"),
    ] {
        assert_eq!(pointing_up(file, source).len(), 1, "{file}: {source}");
    }
}

#[test]
fn what_points_down_or_is_no_import_passes() {
    for (file, source) in [
        ("message.rs", "use crate::close::CloseCode; mod tests { use super::*; }"),
        ("message.rs", "/// [`P`](crate::Protocol)\nconst S: &str = \"crate::Protocol\";"),
        ("message.rs", "pub(crate) fn f() {} pub(in crate::protocol) fn g() {}"),
        (
            "protocol/mod.rs",
            "use crate::protocol::inbound::Inbound; use self::outbound::*; use super::close::CloseCode;",
        ),
        ("protocol/outbound/mod.rs", "use self::ledger::Ledger;"),
        ("protocol/outbound/burst.rs", "use crate::wire::mask::Mask; mod tests { use super::*; }"),
        ("lib.rs", "pub use protocol::Pong;"),
    ] {
        assert_eq!(pointing_up(file, source), [""; 0], "{file}: {source}");
    }
}

#[test]
fn the_drawing_names_what_src_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let drawing = page.split("```").nth(1).expect("the page begins with the drawing");
    let drawn: Vec<&str> = drawing.split_whitespace().filter(|word| word.ends_with(".rs")).collect();
    // A file is drawn by its name; a child in a folder of a folder by the folder's name and its own.
    for file in sources().keys().filter(|file| *file != "lib.rs") {
        let is_drawn = drawn.iter().any(|name| file == name || file.ends_with(&format!("/{name}")));
        assert!(is_drawn, "src/{file} is not in the drawing of docs/architecture.md");
    }
    for name in drawn {
        let is_there = sources().keys().any(|file| file == name || file.ends_with(&format!("/{name}")));
        assert!(is_there, "{name} is in the drawing of docs/architecture.md and not in src");
    }
}

/// What stands on a floor: a folder of `src`, or a file in it.
fn place(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(other, _)| *other == name).map(|(_, floor)| *floor)
}

/// The source files of the crate: path below `src` and content.
fn sources() -> BTreeMap<String, String> {
    fn read(directory: &Path, prefix: &str, sources: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                read(&path, &format!("{name}/"), sources);
            } else if name.ends_with(".rs") {
                sources.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut sources = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    sources
}

/// Each path of `file` that does not point down, as a line for people.
fn pointing_up(file: &str, source: &str) -> Vec<String> {
    // The root is above all, and may name anything.
    let Some(from) = floor(place(file)) else { return Vec::new() };
    let module: Vec<String> =
        file.trim_end_matches(".rs").split('/').filter(|name| *name != "mod").map(Into::into).collect();
    let mut paths = Paths { module: module.clone(), found: Vec::new() };
    paths.visit_file(&syn::parse_file(source).expect("it is Rust"));
    let points_up = |path: &Vec<String>| {
        let Some(to) = path.first().and_then(|name| floor(name)) else { return true };
        if path[0] == STRANGERS && place(file) == STRANGERS {
            // To itself and to its own children only.
            return !path.starts_with(&module);
        }
        to > from
    };
    let found = paths.found.into_iter().filter(points_up);
    found.map(|path| format!("src/{file}: crate::{} does not point down", path.join("::"))).collect()
}

/// Collects the paths into this crate, from its root on.
struct Paths {
    /// The module that is looked at.
    module: Vec<String>,
    found: Vec<Vec<String>>,
}

impl Paths {
    fn add(&mut self, words: &[String]) {
        let mut path = match words.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        for word in words {
            match word.as_str() {
                "crate" | "self" => {}
                "super" => drop(path.pop()),
                name => path.push(name.to_owned()),
            }
        }
        self.found.push(path);
    }

    fn add_tree(&mut self, tree: &syn::UseTree, words: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                words.push(path.ident.to_string());
                self.add_tree(&path.tree, words);
                words.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, words)),
            syn::UseTree::Name(syn::UseName { ident, .. }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                words.push(ident.to_string());
                self.add(words);
                words.pop();
            }
            _ => self.add(words),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // `self` alone is a value.
        if path.segments.len() > 1 {
            self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        }
        visit::visit_path(self, path);
    }

    /// `pub(in path)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    /// What a macro is given need not be Rust: only paths from `crate` on are looked for.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        for path in call.tokens.to_string().split("crate ::").skip(1) {
            let words =
                path.split("::").map(|word| word.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next());
            let words: Vec<String> = ["crate"].into_iter().chain(words.flatten().take(1)).map(Into::into).collect();
            self.add(&words);
        }
        visit::visit_macro(self, call);
    }
}
