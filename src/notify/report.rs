//! What others are told: a body of JSON with a bound.

use std::time::Duration;

use serde_json::json;

use crate::config::notify::Occasion;
use crate::values::secret::masked;
use crate::values::text::{printable, shorten};

/// The form of the body.
const FORMAT: u32 = 1;
/// So many lines of an error are sent, and of images.
const LINES: usize = 5;
/// So long is each of them, in letters.
const LINE: usize = 300;

/// How a deployment ended, on one host.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) occasion: Occasion,
    pub(crate) name: String,
    pub(crate) deployment: String,
    /// The lifecycle event, or `rollback`.
    pub(crate) event: String,
    pub(crate) exit_code: u8,
    /// Each as `web:1.4.2 (sha256:0123456789ab)`.
    pub(crate) images: Vec<String>,
    /// What served before.
    pub(crate) previous: Option<String>,
    pub(crate) took: Duration,
    pub(crate) error: Vec<String>,
    pub(crate) host: String,
    /// The EC2 instance ID, where cloud-init has left it.
    pub(crate) instance: Option<String>,
}

impl Report {
    /// `text` is what Slack and its like show.
    pub(crate) fn body(&self) -> String {
        let lines = |all: &[String]| all.iter().take(LINES).map(|line| line_of(line)).collect::<Vec<_>>();
        let body = json!({
            "format": FORMAT,
            "text": self.text(),
            "result": self.occasion.as_str(),
            "name": self.name,
            "deployment": self.deployment,
            "event": self.event,
            "exit_code": self.exit_code,
            "images": lines(&self.images),
            "previous": self.previous.as_ref().map(|previous| line_of(previous)),
            "duration_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "error": lines(&self.error),
            "host": self.host,
            "instance": self.instance,
        });
        body.to_string()
    }

    /// `web: failure of ApplicationStart on i-0123 (d-A1B2C3D4E): web exited with code 3`.
    fn text(&self) -> String {
        let host = self.instance.as_deref().unwrap_or(&self.host);
        let what =
            format!("{}: {} of {} on {host} ({})", self.name, self.occasion.as_str(), self.event, self.deployment);
        let detail = match self.occasion {
            Occasion::Failure => self.error.first(),
            Occasion::Success | Occasion::Rollback => self.images.first(),
        };
        detail.map_or_else(|| what.clone(), |detail| format!("{what}: {}", line_of(detail)))
    }

    /// SNS takes 100 letters of ASCII.
    pub(crate) fn subject(&self) -> String {
        let text = format!("balehook: {} of {}", self.occasion.as_str(), self.name);
        text.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(100).collect()
    }

    /// For a command, beside the body on its standard input.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("BALEHOOK_RESULT", self.occasion.as_str().to_owned()),
            ("BALEHOOK_NAME", self.name.clone()),
            ("BALEHOOK_DEPLOYMENT", self.deployment.clone()),
            ("BALEHOOK_EVENT", self.event.clone()),
            ("BALEHOOK_EXIT_CODE", self.exit_code.to_string()),
        ]
    }
}

fn line_of(text: &str) -> String {
    shorten(&masked(&printable(text)), LINE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn failed(error: Vec<String>) -> Report {
        Report {
            occasion: Occasion::Failure,
            name: "web".into(),
            deployment: "d-BADBADBAD".into(),
            event: "ApplicationStart".into(),
            exit_code: 8,
            images: vec!["web:1.4.3 (sha256:ab85ca765248)".into()],
            previous: Some("web:1.4.2 (sha256:f0b672321a89)".into()),
            took: Duration::from_millis(2100),
            error,
            host: "web-1".into(),
            instance: Some("i-0123456789abcdef0".into()),
        }
    }

    #[test]
    fn a_body_says_what_failed_where_and_why_and_chat_programs_show_its_text() {
        let body: serde_json::Value =
            serde_json::from_str(&failed(vec!["web exited with code 3".into(), "no database".into()]).body()).unwrap();
        let text = "web: failure of ApplicationStart on i-0123456789abcdef0 (d-BADBADBAD): web exited with code 3";
        let wanted = json!({
            "format": 1, "text": text, "result": "failure", "name": "web", "deployment": "d-BADBADBAD",
            "event": "ApplicationStart", "exit_code": 8, "images": ["web:1.4.3 (sha256:ab85ca765248)"],
            "previous": "web:1.4.2 (sha256:f0b672321a89)", "duration_ms": 2100,
            "error": ["web exited with code 3", "no database"], "host": "web-1", "instance": "i-0123456789abcdef0",
        });
        assert_eq!(body, wanted);
        assert_eq!(failed(Vec::new()).subject(), "balehook: failure of web");
    }

    #[test]
    fn an_endless_error_is_cut_and_its_secrets_are_hidden() {
        let line = format!("password=hunter2secret {}", "x".repeat(5000));
        let body = failed(vec![line; 100]).body();
        assert!(body.len() < 8000, "{}", body.len());
        assert!(!body.contains("hunter2secret"), "{body}");
    }
}
