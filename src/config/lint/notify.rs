//! Where notifications go.

use crate::config::field::Field;
use crate::config::rules::{NOTIFY_PLAIN_HTTP, SECRET_IN_NOTIFY};
use crate::values::secret::{is_secret_name, masked};

pub(super) fn check(section: &Field<'_>) {
    let Some(all) = section.given("notify") else { return };
    for one in all.each() {
        if let Some(url) = one.get("webhook") {
            webhook(&url);
        }
        let Some(headers) = one.given("headers") else { continue };
        headers.entries(|name, value| {
            let text = value.node.as_text()?;
            if !text.contains('$') && (is_secret_name(name) || masked(text) != text) {
                secret(value, &format!("the header `{name}`"));
            }
            Some(())
        });
    }
}

fn webhook(field: &Field<'_>) {
    let Some(text) = field.node.as_text() else { return };
    let host = text.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
    if host.is_some_and(|host| !["127.0.0.1", "localhost", "["].contains(&host)) {
        field.warning(
            NOTIFY_PLAIN_HTTP,
            "the webhook is called over plain HTTP",
            "write `https://`: what is sent names hosts, images and errors",
        );
    }
    if !text.contains('$') && masked(text) != text {
        secret(field, "the webhook's address");
    }
}

fn secret(field: &Field<'_>, what: &str) {
    field.warning(
        SECRET_IN_NOTIFY,
        format!("{what} looks like a secret, and each person who may read the bundle has it"),
        "take it from a variable of the agent's environment: `${NOTIFY_URL}`",
    );
}
