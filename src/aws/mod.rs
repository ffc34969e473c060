//! AWS: the settings of its clients, S3, ECR and SNS, and of services that speak AWS JSON. Every call is bounded: connecting, the answer, each wait for a byte.

pub(crate) mod config;
pub(crate) mod ecr;
pub(crate) mod https;
pub(crate) mod identity;
pub(crate) mod json;
pub(crate) mod plain_http;
pub(crate) mod s3;
pub(crate) mod scan;
pub(crate) mod sign;
pub(crate) mod sns;
