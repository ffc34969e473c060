//! `status`: what was deployed on this host, as the engine and the kernel have it now.

pub(crate) mod observe;

use std::io;

use crate::app::{Context, names_in, say};
use crate::cli::Format;
use crate::deploy::state::Store;
use crate::error::Failure;
use crate::ui::status;
use crate::ui::status::Deployed;
use crate::ui::text::Console;

pub(crate) async fn status(context: &Context, format: Format) -> u8 {
    match deployed(context).await {
        Ok(found) => {
            let text = match format {
                Format::Text => status::text(&found),
                Format::Json => format!("{:#}\n", status::json(&found)),
            };
            Console::new(&mut io::stdout()).whole(&text);
            0
        }
        Err(failure) => say(&failure),
    }
}

async fn deployed(context: &Context) -> Result<Deployed, Failure> {
    let engine = context.engine()?;
    let containers = engine.status().await?;
    let services = observe::services(&engine).await?;
    let is_worker = services.is_none();
    let state = &context.settings.state_dir;
    let stopped = names_in(state).into_iter().filter(|name| Store::new(state, name).is_stopped());
    let stopped = stopped.map(|name| name.to_string()).collect();
    Ok(Deployed { containers, services: services.unwrap_or_default(), is_worker, stopped })
}
