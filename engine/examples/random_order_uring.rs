//! As `random_order`, on a tokio-uring runtime: `random_order_uring PATH CHUNKS`.

use std::rc::Rc;
use std::{cell::Cell, env, iter};

use ringpack::aio::uring::{UringReader, UringWriter, start};
use ringpack::write::WriteOptions;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().collect();
    let (path, count): (_, u64) = (&args[1], args[2].parse()?);
    start(async {
        let writer = UringWriter::reopen_or_create(path, &WriteOptions::default()).await?;
        let writer = Rc::new(writer);
        println!("{} of {count} chunks are there already", writer.given());
        let next = Rc::new(Cell::new(0));
        let give = |_| {
            let (writer, next) = (Rc::clone(&writer), Rc::clone(&next));
            tokio_uring::spawn(async move {
                while next.get() < count {
                    // Every number once, unless 7919 divides their count.
                    let number = next.replace(next.get() + 1) * 7919 % count;
                    if !writer.is_given(number) {
                        writer.write_chunk(number, &chunk(number)).await?;
                    }
                }
                ringpack::Result::<()>::Ok(())
            })
        };
        for task in (0..16).map(give).collect::<Vec<_>>() {
            task.await??;
        }
        Rc::into_inner(writer).expect("the tasks have ended").finalize(None).await?;
        let reader = UringReader::open(path).await?;
        for number in 0..count {
            let found = reader.read_range(number << 20..(number + 1) << 20).await?;
            assert!(found == chunk(number), "chunk {number}");
        }
        println!("{count} chunks read back as they were given");
        Ok(())
    })
}

/// What chunk `number` holds: noise.
fn chunk(number: u64) -> Vec<u8> {
    let mut state = number + 1;
    let words = iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state ^ (state >> 29)).to_le_bytes()
    });
    words.take(1 << 17).flatten().collect()
}
