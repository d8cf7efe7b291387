//! What each command needs that reads what a stranger may have written: everything else is given up
//! before the first byte is read.

use crate::args::{self, Command};
use crate::commands::{foreign, unpack};
use crate::names;
use crate::sandbox::Needs;

/// Confines the command, if it is one of those.
pub(super) fn confine(command: &Command) {
    let mut needs = Needs::default();
    match command {
        Command::Unpack(args) => of_unpack(args, &mut needs),
        Command::Verify(args) => {
            for input in &args.inputs {
                needs.reads(input);
            }
            if let Some(source) = &args.against {
                needs.reads(source);
            }
            if let (Some(map), [input]) = (&args.repair_map, args.inputs.as_slice()) {
                needs.reads_beside(input);
                needs.writes(map);
            }
            needs.tells(&args.talk);
        }
        Command::Salvage(args) => {
            needs.reads(&args.input);
            needs.reads_beside(&args.input);
            needs.writes(&args.output);
        }
        Command::Cat(args) => needs.reads(&args.input),
        Command::Ls(args) => needs.reads(&args.input),
        Command::Info(args) => needs.reads(&args.input),
        // They read what is this user's own, or nothing.
        _ => return,
    }
    needs.enter();
}

fn of_unpack(args: &args::Unpack, needs: &mut Needs) {
    for input in &args.inputs {
        needs.reads(input);
        if foreign::seekable(input).is_none() {
            needs.spools();
        }
        if args.rm {
            needs.removes(input);
        }
        if args.tree.is_wanted() {
            needs.extracts(args.output.as_deref().unwrap_or(".".as_ref()));
        } else if !unpack::is_to_stdout(args)
            && let Some(output) = args.output.clone().or_else(|| names::unpacked(input))
        {
            needs.writes(&output);
        }
    }
    needs.tells(&args.talk);
}
