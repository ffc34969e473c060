//! AWS: the settings of its clients, S3 and ECR. Every call is bounded: connecting, the answer, each wait for a byte.

pub mod config;
pub mod ecr;
pub mod s3;
