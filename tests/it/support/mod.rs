//! What the integration tests stand on: a world of their own, images made here, bundles, and the binary as the agent
//! runs it.

pub mod answers;
pub mod bundle;
pub mod calls;
pub mod cluster;
pub mod codedeploy;
pub mod engine_proxy;
pub mod iam;
pub mod images;
pub mod machine;
pub mod outside;
pub mod prober;
pub mod served;
pub mod world;

pub use answers::Answers;
pub use bundle::{Bundle, Outcome};
pub use images::Image;
pub use served::Served;
pub use world::world;
