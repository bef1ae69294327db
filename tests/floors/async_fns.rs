//! Keeps the table of `sizes.rs`, among the tests, whole: each public `async fn` of the crate is in it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

#[test]
fn every_public_async_fn_has_its_size_checked() {
    let public = public_async_fns();
    assert!(public.len() > 20, "{public:?}");
    let checked = checked();
    let missing: Vec<_> = public.difference(&checked).collect();
    assert!(missing.is_empty(), "no size is checked of {missing:?}");
    let gone: Vec<_> = checked.iter().filter(|name| name.contains("::") && !public.contains(*name)).collect();
    assert!(gone.is_empty(), "these are no public async fn: {gone:?}");
}

/// The names in the table.
fn checked() -> BTreeSet<String> {
    let tables: Vec<_> = files("tests").into_iter().filter(|path| path.ends_with("sizes.rs")).collect();
    let [table] = &tables[..] else { panic!("there is one sizes.rs: {tables:?}") };
    let mut names = Names::default();
    for item in read(table).items {
        if let syn::Item::Fn(function) = item
            && function.sig.ident == "sizes"
        {
            names.visit_block(&function.block);
        }
    }
    names.0
}

/// The first element of each tuple that begins with a string.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Visit<'_> for Names {
    fn visit_expr_tuple(&mut self, tuple: &syn::ExprTuple) {
        if let Some(syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(name), .. })) = tuple.elems.first() {
            self.0.insert(name.value());
        }
        visit::visit_expr_tuple(self, tuple);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        let elements = call.parse_body_with(syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated);
        elements.expect("the table is one `vec![…]`").iter().for_each(|element| self.visit_expr(element));
    }
}

/// `Type::name` of each in `src`.
fn public_async_fns() -> BTreeSet<String> {
    let mut found = Found::default();
    for path in files("src") {
        if !path.ends_with("src/fuzzing.rs") {
            found.visit_file(&read(&path));
        }
    }
    found.0
}

/// Those of Rust in a folder of the repository, and in its folders.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                files.push(path);
            }
        }
    }
    files
}

fn read(path: &Path) -> syn::File {
    syn::parse_file(&fs::read_to_string(path).expect("a text")).expect("Rust")
}

#[derive(Default)]
struct Found(BTreeSet<String>);

impl Visit<'_> for Found {
    fn visit_item_impl(&mut self, item: &syn::ItemImpl) {
        let syn::Type::Path(of) = &*item.self_ty else { return };
        let of = of.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        for method in &item.items {
            if let syn::ImplItem::Fn(method) = method
                && matches!(method.vis, syn::Visibility::Public(_))
                && method.sig.asyncness.is_some()
            {
                self.0.insert(format!("{of}::{}", method.sig.ident));
            }
        }
        visit::visit_item_impl(self, item);
    }
}
