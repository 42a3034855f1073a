//! `policyd monitor`: events as they happen.

use super::Outcome;
use crate::args::{Format, MonitorArgs};
use crate::output::{json_line, print, tell};
use weir_project::visible::visible;
use weir_runtime::control::client::Client;
use weir_runtime::control::{Request, Response};
use weir_runtime::event::{Event, Fate};

/// The command.
pub(crate) fn run(args: &MonitorArgs) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&args.socket.socket)?;
    client.listen(&Request::Monitor { drops: args.drops, party: args.of.clone(), last: args.last })?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        match client.next()? {
            Some(Response::Event(event)) => {
                let event: Event = serde_json::from_str(event.get())?;
                let line = match args.format {
                    Format::Text => in_color(&event),
                    Format::Json => json_line(&event)?,
                };
                if !print(&line)? {
                    break;
                }
                left -= 1;
            }
            Some(Response::Lost(count)) => tell(&format!("{count} events came faster than they were read")),
            Some(_) => {}
            None => {
                tell("policyd has ended");
                break;
            }
        }
    }
    Ok(Outcome::Fine)
}

/// The event's line; stdout takes the colour off where it is no terminal.
fn in_color(event: &Event) -> String {
    let color = match event.verdict {
        Fate::Forwarded => "32",
        Fate::Redirected => "36",
        Fate::Dropped => "31",
    };
    let line = event.to_string();
    let verdict = event.verdict.as_str();
    visible(&line).replacen(verdict, &format!("\x1b[{color}m{verdict}\x1b[0m"), 1) + "\n"
}
