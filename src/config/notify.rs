//! `notify`: who is told how a deployment ended.

use serde::{Deserialize, Serialize};

use crate::config::field::Field;
use crate::values::types::{Refused, Secret, revealed};

/// What somebody wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Occasion {
    /// ApplicationStart succeeded.
    Success,
    /// An event, or a rollback, failed.
    Failure,
    /// A kept release serves again, by `balehook rollback`.
    Rollback,
}

pub(crate) const OCCASIONS: [&str; 3] = ["success", "failure", "rollback"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notify {
    pub(crate) on: Vec<Occasion>,
    pub(crate) to: Receiver,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Receiver {
    Command(Vec<String>),
    /// The address is a secret with many services.
    Webhook {
        #[serde(with = "revealed")]
        url: Secret,
        headers: Vec<Header>,
    },
    /// The ARN of a topic.
    Sns(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) name: String,
    #[serde(with = "revealed")]
    pub(crate) value: Secret,
}

impl Occasion {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Rollback => "rollback",
        }
    }
}

pub(crate) fn read(section: &Field<'_>) -> Vec<Notify> {
    section.given("notify").map(|field| field.items(one)).unwrap_or_default()
}

fn one(field: &Field<'_>) -> Option<Notify> {
    field.mapping(|keys| {
        let on = keys.know("on");
        let headers = keys.know("headers");
        let named = [keys.know("command"), keys.know("webhook"), keys.know("sns")];
        let on = match on {
            Some(on) => occasions(&on),
            None => field.lacks("`on` is missing", "write `on: [failure, rollback]`"),
        };
        if let (Some(headers), None) = (&headers, &named[1]) {
            headers.error("`headers` are of a webhook", "leave them out");
        }
        let to = match named {
            [Some(command), None, None] => self::command(&command),
            [None, Some(url), None] => webhook(&url, headers.as_ref()),
            [None, None, Some(topic)] => topic.parsed(arn).map(Receiver::Sns),
            [None, None, None] => {
                field.lacks("`command`, `webhook` or `sns` is missing", "write one of them: who is told")
            }
            [..] => field.refuse("it names several receivers", "write one entry for each"),
        };
        Some(Notify { on: on?, to: to? })
    })
}

fn occasions(field: &Field<'_>) -> Option<Vec<Occasion>> {
    let on = field.items(|item| match item.one_of(&OCCASIONS)? {
        "success" => Some(Occasion::Success),
        "failure" => Some(Occasion::Failure),
        _ => Some(Occasion::Rollback),
    });
    match field.node.as_sequence() {
        Some([]) => field.refuse("it names nothing", "write `on: [failure, rollback]`"),
        _ => Some(on),
    }
}

fn command(field: &Field<'_>) -> Option<Receiver> {
    let words = field.command();
    match words.first().is_some_and(|program| !program.is_empty()) {
        true => Some(Receiver::Command(words)),
        false => {
            field.refuse("it names no program", "write `command: [bin/notify]`, a path in the bundle, or `/usr/…`")
        }
    }
}

fn webhook(field: &Field<'_>, headers: Option<&Field<'_>>) -> Option<Receiver> {
    // The address is not repeated: it may be a secret.
    let text = field.text()?;
    let url: Option<http::Uri> = text.parse().ok();
    let authority = url.as_ref().and_then(http::Uri::authority).filter(|authority| !authority.host().is_empty());
    let is_http = matches!(url.as_ref().and_then(http::Uri::scheme_str), Some("https" | "http"));
    let Some(authority) = authority.filter(|_| is_http) else {
        return field.refuse("it is no address of a web server", "write `https://host/path`");
    };
    if authority.as_str().contains('@') {
        return field.refuse("it has a user or a password", "write them as `headers: {Authorization: …}`");
    }
    let headers = headers.map(self::headers).unwrap_or_default();
    Some(Receiver::Webhook { url: Secret::new(text), headers })
}

pub(crate) fn headers(field: &Field<'_>) -> Vec<Header> {
    field.entries(|name, value| {
        let text = value.text()?;
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() || http::HeaderValue::from_str(&text).is_err() {
            return value.refuse("it is no header of HTTP", "write `Name: value`, in one line");
        }
        Some(Header { name: name.to_owned(), value: Secret::new(text) })
    })
}

/// `arn:aws:sns:REGION:ACCOUNT:TOPIC`.
fn arn(text: &str) -> Result<String, Refused> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    match parts[..] {
        ["arn", partition, "sns", region, account, topic]
            if [partition, region, account, topic].into_iter().all(is_word) =>
        {
            if topic.ends_with(".fifo") {
                return Err(Refused(
                    "is a FIFO topic, which e-mail and chat cannot subscribe to: name a standard one".into(),
                ));
            }
            Ok(text.to_owned())
        }
        _ => Err(Refused("is no ARN of a topic: write `arn:aws:sns:REGION:ACCOUNT:TOPIC`".into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::problem::Problems;
    use crate::config::yaml::Node;

    /// What is read of a section, and the problems, each with its place.
    fn read_of(text: &str) -> (Vec<Notify>, String) {
        let (root, problems) = (Node::parse(text).unwrap(), Problems::new());
        let notify = read(&Field { node: &root, path: String::new(), problems: &problems });
        let all = problems.sorted().into_iter();
        let told = all.map(|one| format!("{}:{} {} {}\n", one.place.line, one.place.column, one.path, one.message));
        (notify, told.collect())
    }

    #[test]
    fn each_receiver_is_read_and_no_address_is_shown_by_debug() {
        let (notify, problems) = read_of(
            "notify:
- {on: [success, failure], command: notify --urgent}
- {on: [rollback], webhook: 'https://hooks.test/T0/secret-part', headers: {Authorization: Bearer abc}}
- {on: [failure], sns: 'arn:aws-cn:sns:cn-north-1:123456789012:deployments'}
",
        );
        assert_eq!(problems, "");
        let command = Receiver::Command(vec!["notify".into(), "--urgent".into()]);
        assert_eq!(notify[0], Notify { on: vec![Occasion::Success, Occasion::Failure], to: command });
        let header = Header { name: "Authorization".into(), value: Secret::new("Bearer abc") };
        let webhook =
            Receiver::Webhook { url: Secret::new("https://hooks.test/T0/secret-part"), headers: vec![header] };
        assert_eq!(notify[1], Notify { on: vec![Occasion::Rollback], to: webhook });
        let topic = Receiver::Sns("arn:aws-cn:sns:cn-north-1:123456789012:deployments".into());
        assert_eq!(notify[2], Notify { on: vec![Occasion::Failure], to: topic });
        let shown = format!("{notify:?}");
        assert!(!shown.contains("secret-part") && !shown.contains("abc"), "{shown}");
        assert_eq!(serde_json::from_value::<Vec<Notify>>(serde_json::json!(notify)).unwrap(), notify);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (entry, wanted) in [
            ("{on: [failure]}", "2:3 notify[0] `command`, `webhook` or `sns` is missing"),
            ("{command: [a]}", "2:3 notify[0] `on` is missing"),
            ("{on: [], command: [a]}", "2:8 notify[0].on it names nothing"),
            ("{on: [faliure], command: [a]}", "2:9 notify[0].on[0] `faliure` is not known"),
            ("{on: [failure], command: [a], sns: b}", "2:3 notify[0] it names several receivers"),
            ("{on: [failure], command: []}", "2:28 notify[0].command it names no program"),
            ("{on: [failure], webhook: hooks.test}", "2:28 notify[0].webhook it is no address of a web server"),
            ("{on: [failure], webhook: 'https://u:p@h/x'}", "2:28 notify[0].webhook it has a user or a password"),
            ("{on: [failure], sns: deployments}", "2:24 notify[0].sns `deployments` is no ARN of a topic"),
            (
                "{on: [failure], sns: 'arn:aws:sns:eu-west-1:1:a.fifo'}",
                "2:24 notify[0].sns `arn:aws:sns:eu-west-1:1:a.fifo` is a FIFO",
            ),
            ("{on: [failure], command: [a], headers: {A: b}}", "2:42 notify[0].headers `headers` are of a webhook"),
            (
                "{on: [failure], webhook: 'https://h/x', headers: {'A b': c}}",
                "2:60 notify[0].headers.A b it is no header",
            ),
        ] {
            let (_, problems) = read_of(&format!("notify:\n- {entry}\n"));
            assert!(problems.starts_with(wanted) && problems.lines().count() == 1, "{entry}: {problems}");
        }
    }
}
