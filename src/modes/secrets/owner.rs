//! Who owns the files: the user that the container's process runs as, by number. A name is looked up in the image.

use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::values::secret_file::SecretSet;
use crate::values::types::Name;

const PASSWD: &str = "/etc/passwd";

const GROUP: &str = "/etc/group";

/// The numbers of the user and of the group. `image`: what the engine knows the set's image by.
pub(super) async fn owner(engine: &Engine, name: &Name, set: &SecretSet, image: &str) -> Result<(u32, u32), Failure> {
    let of_image = match &set.user {
        Some(_) => None,
        None => engine.image(image).await?.and_then(|image| image.config).and_then(|config| config.user),
    };
    let text = set.user.clone().or(of_image).unwrap_or_default();
    let (user, group) = text.split_once(':').map_or((text.as_str(), None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    if let (Ok(user), Ok(group)) = (user.parse(), group.unwrap_or("0").parse()) {
        return Ok((user, group));
    }
    let unknown = |what: &str, file: &str| {
        Failure::new(Kind::Container, format!("whose secrets are they? {file} of {image} has no {what}"))
            .next("write the user as a number: `user: \"1000:1000\"`, or give each secret a `uid`")
    };
    let passwd = engine.file_of_image(image, name, PASSWD).await?.unwrap_or_default();
    let found = entry(&passwd, user, 2).ok_or_else(|| unknown(&format!("user {user}"), PASSWD))?;
    let group = match group {
        None => entry(&passwd, user, 3).unwrap_or_default(),
        Some(group) if group.parse::<u32>().is_ok() => group.parse().unwrap_or_default(),
        Some(group) => {
            let groups = engine.file_of_image(image, name, GROUP).await?.unwrap_or_default();
            entry(&groups, group, 2).ok_or_else(|| unknown(&format!("group {group}"), GROUP))?
        }
    };
    Ok((found, group))
}

/// A number of the line that begins with `name`. A user's own number needs no line.
fn entry(text: &[u8], name: &str, field: usize) -> Option<u32> {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let of_line = line.and_then(|line| line.split(':').nth(field)?.parse().ok());
    of_line.or_else(|| name.parse().ok().filter(|_| field == 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_numbers_stand_in_its_line_and_a_number_needs_none() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\napp:x:1001:1002::/:\n";
        assert_eq!((entry(passwd, "app", 2), entry(passwd, "app", 3)), (Some(1001), Some(1002)));
        assert_eq!((entry(passwd, "ap", 2), entry(passwd, "77", 2), entry(passwd, "77", 3)), (None, Some(77), None));
    }
}
