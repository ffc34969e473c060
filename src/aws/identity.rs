//! Who we are for AWS: the region and the credentials that the SDK finds, and what kind they are.

use std::path::Path;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_credential_types::provider::ProvideCredentials as _;

use crate::aws::config;

/// The SDK's own settings.
pub(crate) async fn settings(home: Option<&Path>) -> SdkConfig {
    config::defaults(home).load().await
}

/// Where the credentials come from, as `the instance's role`.
/// Errors: Why there are none, in one line.
pub(crate) async fn credentials(settings: &SdkConfig) -> Result<&'static str, String> {
    let provider = settings.credentials_provider().ok_or("the AWS SDK has no provider of credentials")?;
    provider.provide_credentials().await.map(|found| kind(&found)).map_err(|error| config::causes(&error))
}

fn kind(credentials: &Credentials) -> &'static str {
    let features = credentials.get_property::<Vec<Feature>>().map(Vec::as_slice).unwrap_or_default();
    let is = |wanted: &[Feature]| features.iter().any(|feature| wanted.contains(feature));
    match () {
        () if is(&[Feature::CredentialsImds]) => "the instance's role (IMDS)",
        () if is(&[Feature::CredentialsHttp]) => "a container's role",
        () if is(&[Feature::CredentialsEnvVars]) => "variables of the environment",
        () if is(&[Feature::CredentialsStsAssumeRoleWebId, Feature::CredentialsEnvVarsStsWebIdToken]) => {
            "a web identity token"
        }
        () if is(&[Feature::CredentialsSso, Feature::CredentialsProfileSso]) => "a single sign-on session",
        () if is(&[Feature::CredentialsProcess, Feature::CredentialsProfileProcess]) => "a program of a profile",
        () if is(&[Feature::CredentialsStsAssumeRole]) => "a role that a profile assumes",
        () if is(&[Feature::CredentialsProfile]) => "a profile file",
        () => "another provider of the AWS SDK",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_named_by_where_they_come_from() {
        let mut found = Credentials::new("AKIATESTS", "secret", None, None, "test");
        assert_eq!(kind(&found), "another provider of the AWS SDK");
        found.get_property_mut_or_default::<Vec<Feature>>().push(Feature::CredentialsImds);
        assert_eq!(kind(&found), "the instance's role (IMDS)");
    }
}
