//! `image: {definitions: FILE}`: the file that CodePipeline's builds write, with the image that was built.
//!
//! Source: CodePipeline user guide, "Image definitions file reference": `imagedefinitions.json` is a list of `name` and
//! `imageUri`; `imageDetail.json` is one object with `ImageURI`.

use std::path::Path;

use serde_json::Value;

use crate::config::field::Field;
use crate::config::variables::{inside, text};
use crate::values::reference::ImageReference;

/// The image of a file; `name` chooses one of several.
pub(crate) fn image(file: &Field<'_>, name: Option<&Field<'_>>, bundle_root: &Path) -> Option<ImageReference> {
    let path = file.parsed(inside)?;
    let text = text(file, Path::new(&path), bundle_root)?;
    let content: Value = match serde_json::from_str(&text) {
        Ok(content) => content,
        Err(error) => return file.refuse(format!("{path}:{}:{}: it is no JSON", error.line(), error.column()), ""),
    };
    let name = match name {
        Some(field) => Some(field.parsed(|text| Ok(text.to_owned()))?),
        None => None,
    };
    let found = match &content {
        Value::Array(entries) => one(entries, name.as_deref()),
        entry => entry["ImageURI"].as_str().ok_or_else(|| "it has neither a list of images nor `ImageURI`".to_owned()),
    };
    match found.and_then(|uri| uri.parse().map_err(|refused| format!("`{uri}` {refused}"))) {
        Ok(reference) => Some(reference),
        Err(why) => {
            file.refuse(format!("{path}: {why}"), "write `image: {definitions: imagedefinitions.json, name: web}`")
        }
    }
}

fn one<'a>(entries: &'a [Value], name: Option<&str>) -> Result<&'a str, String> {
    let named: Vec<&Value> = match name {
        Some(name) => entries.iter().filter(|entry| entry["name"] == name).collect(),
        None => entries.iter().collect(),
    };
    let names = || entries.iter().filter_map(|entry| entry["name"].as_str()).collect::<Vec<_>>().join(", ");
    match (named.as_slice(), name) {
        ([entry], _) => entry["imageUri"].as_str().ok_or_else(|| "its entry has no `imageUri`".into()),
        ([], Some(name)) => Err(format!("it has no image named `{name}`; it names {}", names())),
        ([], None) => Err("its list is empty".into()),
        (_, Some(name)) => Err(format!("it names `{name}` more than once")),
        (_, None) => Err(format!("it has several images: choose one by `name`: {}", names())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::problem::Problems;
    use crate::config::yaml::Node;

    /// The image, or what is said of the file.
    fn read(content: &str, name: &str) -> Result<String, String> {
        let bundle = tempfile::tempdir().unwrap();
        std::fs::write(bundle.path().join("i.json"), content).unwrap();
        let (node, problems) = (Node::parse(&format!("f: i.json\nn: {name}")).unwrap(), Problems::new());
        let section = Field { node: &node, path: String::new(), problems: &problems };
        let name = section.given("n");
        let image = image(&section.get("f").unwrap(), name.as_ref(), bundle.path());
        image.map(|image| image.to_string()).ok_or_else(|| problems.sorted()[0].message.clone())
    }

    const TWO: &str = r#"[{"name": "web", "imageUri": "r.example.com/web:1"}, {"name": "db", "imageUri": "db:2"}]"#;

    #[test]
    fn a_file_without_the_image_is_refused_with_what_it_has() {
        for (content, name, wanted) in [
            (TWO, "", "i.json: it has several images: choose one by `name`: web, db"),
            (TWO, "wbe", "i.json: it has no image named `wbe`; it names web, db"),
            ("[]", "", "i.json: its list is empty"),
            ("{}", "", "i.json: it has neither a list of images nor `ImageURI`"),
            ("[{", "", "i.json:1:2: it is no JSON"),
            (r#"[{"name": "a"}]"#, "a", "i.json: its entry has no `imageUri`"),
            (r#"[{"name": "a"}, {"name": "a"}]"#, "a", "i.json: it names `a` more than once"),
        ] {
            assert_eq!(read(content, name).unwrap_err(), wanted, "{content}");
        }
        assert!(read(r#"{"ImageURI": "A B"}"#, "").unwrap_err().starts_with("i.json: `A B` "));
    }

    #[test]
    fn both_files_of_codepipeline_are_read() {
        assert_eq!(read(TWO, "web").unwrap(), "r.example.com/web:1");
        assert_eq!(read(TWO, "db").unwrap(), "db:2");
        let digest = format!("r.example.com/web@sha256:{}", "a".repeat(64));
        let detail = format!(r#"{{"ImageSizeInBytes": "1", "ImageTags": ["1"], "ImageURI": "{digest}"}}"#);
        assert_eq!(read(&detail, "").unwrap(), digest);
    }
}
