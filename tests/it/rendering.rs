//! Every wall around a worker tried from inside, by drills, and every way of
//! dying told from the others.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use kura::render::pool::RenderError;
use kura::render::{Order, Refusal};

use crate::support::drills::{Stand, refusal, source};
use crate::support::pattern;

#[tokio::test]
async fn thumbnails_come_back_whole_whatever_their_size() {
    let stand = Stand::new(|_| {});
    for length in [6, 100, 5000, 70_000, 1 << 20, 4 << 20] {
        let thumbnail = stand.drill(&format!("echo {length}")).await.unwrap();
        assert_eq!(thumbnail.bytes.len(), length);
    }
    assert_eq!(stand.metrics.render_workers.get(), 1, "all by one worker");
}

#[tokio::test]
async fn panic_in_a_decoder_costs_one_worker_and_an_error() {
    let stand = Stand::new(|_| {});
    let answer = stand.drill("panic").await;
    assert_eq!(refusal(&answer), Some(Refusal::Broken));
    assert_eq!(stand.lost("panic"), 1);
    stand.check_serves().await;
}

#[tokio::test]
async fn more_memory_or_stack_than_a_worker_has_is_too_costly() {
    let stand = Stand::new(|_| {});
    for what in ["allocate", "recurse", "abort"] {
        let answer = stand.drill(what).await;
        assert_eq!(refusal(&answer), Some(Refusal::TooCostly), "{what}");
        stand.check_serves().await;
    }
    assert_eq!(stand.lost("memory"), 3);
}

#[tokio::test]
async fn worker_that_computes_for_too_long_is_killed() {
    let stand = Stand::new(|options| options.deadline = Duration::from_millis(1500));
    match stand.drill("spin").await {
        Err(RenderError::Refused(Refusal::TooCostly)) => assert_eq!(stand.lost("deadline"), 1),
        // The machine was too busy to let it compute.
        Err(RenderError::Unavailable(_)) => assert_eq!(stand.lost("stalled"), 1),
        other => panic!("{other:?}"),
    }
    stand.check_serves().await;
}

#[tokio::test]
async fn worker_that_waits_for_too_long_is_killed() {
    let stand = Stand::new(|options| options.deadline = Duration::from_millis(1500));
    for what in ["hang", "boast"] {
        let started = Instant::now();
        match stand.drill(what).await {
            Err(RenderError::Unavailable(_)) => {}
            other => panic!("{what}: {other:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(stand.lost("stalled"), 2);
    stand.check_serves().await;
}

#[tokio::test]
async fn crash_or_an_early_end_is_told_from_a_costly_picture() {
    let stand = Stand::new(|_| {});
    for what in ["segfault", "exit"] {
        let answer = stand.drill(what).await;
        assert_eq!(refusal(&answer), Some(Refusal::Broken), "{what}");
        stand.check_serves().await;
    }
    assert_eq!(stand.lost("crash"), 2);
}

#[tokio::test]
async fn worker_that_says_what_none_says_is_killed() {
    let stand = Stand::new(|_| {});
    let answer = stand.drill("babble").await;
    assert_eq!(refusal(&answer), Some(Refusal::Broken));
    assert_eq!(stand.lost("protocol"), 1);
    stand.check_serves().await;
}

/// System calls that would get out, each with arguments that would work.
fn ways_out() -> Vec<(&'static str, i64, [i64; 4])> {
    let exec = i64::from(libc::PROT_READ | libc::PROT_EXEC);
    let read = i64::from(libc::PROT_READ);
    let anonymous = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let file = i64::from(libc::MAP_PRIVATE);
    let poison = i64::from(libc::MADV_HWPOISON);
    let own = i64::from(std::process::id());
    let inet = i64::from(libc::AF_INET);
    let unix = i64::from(libc::AF_UNIX);
    let stream = i64::from(libc::SOCK_STREAM);
    vec![
        ("openat", libc::SYS_openat, [-100, 0, 0, 0]),
        ("socket", libc::SYS_socket, [inet, stream, 0, 0]),
        ("socket", libc::SYS_socket, [unix, stream, 0, 0]),
        ("socketpair", libc::SYS_socketpair, [unix, stream, 0, 0]),
        ("connect", libc::SYS_connect, [0, 0, 0, 0]),
        ("bind", libc::SYS_bind, [0, 0, 0, 0]),
        ("sendmsg", libc::SYS_sendmsg, [0, 0, 0, 0]),
        ("recvmsg", libc::SYS_recvmsg, [0, 0, 0, 0]),
        ("clone", libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [0, 0, 0, 0]),
        ("execve", libc::SYS_execve, [0, 0, 0, 0]),
        ("execveat", libc::SYS_execveat, [0, 0, 0, 0]),
        ("kill", libc::SYS_kill, [own, 0, 0, 0]),
        ("tgkill", libc::SYS_tgkill, [own, own, 6, 0]),
        ("tkill", libc::SYS_tkill, [own, 6, 0, 0]),
        ("pidfd_open", libc::SYS_pidfd_open, [own, 0, 0, 0]),
        ("ptrace", libc::SYS_ptrace, [0, 0, 0, 0]),
        (
            "readv of a process",
            libc::SYS_process_vm_readv,
            [own, 0, 0, 0],
        ),
        ("prctl", libc::SYS_prctl, [4, 1, 0, 0]),
        ("prlimit64", libc::SYS_prlimit64, [0, 0, 0, 0]),
        ("setrlimit", libc::SYS_setrlimit, [0, 0, 0, 0]),
        ("unshare", libc::SYS_unshare, [0x1000_0000, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, 0, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0]),
        ("memfd_create", libc::SYS_memfd_create, [0, 0, 0, 0]),
        ("dup", libc::SYS_dup, [0, 0, 0, 0]),
        ("fcntl", libc::SYS_fcntl, [0, 0, 0, 0]),
        ("ioctl", libc::SYS_ioctl, [0, 0x541b, 0, 0]),
        ("getdents64", libc::SYS_getdents64, [0, 0, 0, 0]),
        ("unlinkat", libc::SYS_unlinkat, [-100, 0, 0, 0]),
        ("read of another file", libc::SYS_read, [1, 0, 0, 0]),
        ("write to another file", libc::SYS_write, [3, 0, 0, 0]),
        ("mmap of code", libc::SYS_mmap, [0, 4096, exec, anonymous]),
        ("mmap of a file", libc::SYS_mmap, [0, 4096, read, file]),
        ("mprotect", libc::SYS_mprotect, [0, 4096, exec, 0]),
        ("madvise", libc::SYS_madvise, [0, 4096, poison, 0]),
        (
            "a handler",
            libc::SYS_rt_sigaction,
            [libc::SIGTERM.into(), 0, 0, 8],
        ),
        (
            "a call of the other ABI",
            0x4000_0000 | libc::SYS_read,
            [0, 0, 0, 0],
        ),
        ("no call at all", 100_000, [0, 0, 0, 0]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_out_of_the_sandbox_kills_the_worker() {
    let stand = Stand::new(|options| options.workers = 2);
    let ways = ways_out();
    let tries = ways.iter().map(|(name, number, [a, b, c, d])| {
        let stand = &stand;
        async move {
            let answer = stand
                .drill(&format!("syscall {number} {a} {b} {c} {d}"))
                .await;
            assert_eq!(refusal(&answer), Some(Refusal::Broken), "{name}");
        }
    });
    join_all(tries).await;
    assert_eq!(stand.lost("sandbox"), ways.len() as u64);
    // What is allowed is: the drill itself does not fail.
    let answer = stand.drill(&format!("syscall {}", libc::SYS_getpid)).await;
    assert!(answer.is_ok());
    stand.check_serves().await;
}

/// Small files of every format that there is an encoder for, and how large
/// their thumbnails are.
fn pictures() -> Vec<(&'static str, Vec<u8>)> {
    let (width, height) = (1500_u16, 1000_u16);
    let (wide, high) = (u32::from(width), u32::from(height));
    let rgb = pattern(1, 3 * usize::from(width) * usize::from(height));
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
    let colours = jpeg_encoder::ColorType::Rgb;
    encoder.encode(&rgb, width, height, colours).unwrap();
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, wide, high);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&rgb).unwrap();
    writer.finish().unwrap();
    let mut gif = Vec::new();
    let mut encoder = gif::Encoder::new(&mut gif, width, height, &[]).unwrap();
    let frame = gif::Frame::from_rgb_speed(width, height, &rgb, 30);
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    let mut bmp = Vec::new();
    let mut encoder = image::codecs::bmp::BmpEncoder::new(&mut bmp);
    let colours = image::ExtendedColorType::Rgb8;
    encoder.encode(&rgb, wide, high, colours).unwrap();
    let pdf = b"%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R
/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>> endobj
4 0 obj <</Length 36>> stream
BT /F 24 Tf 20 90 Td (walled in) Tj ET
endstream endobj
trailer <</Root 1 0 R>>
";
    // Of 4 × 2 pixels, by `avifenc -y 420`.
    let avif = "\
    AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAA\
    AAAAAAAAAAAAAGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAADAAAAAo\
    aWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAxQ29sb3IAAAAAamlwcnAAAABLaXBjbwAAABRpc3BlAAAAAAAA\
    AAQAAAACAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgQAMAAAAABNjb2xybmNseAABAA0ABoAAAAAXaXBtYQAAAAAA\
    AAABAAEEAQKDBAAAADhtZGF0EgAKCBgEOwQENBoQMiIQgAAAUEHBvApd6LMBVN+1VU7SQAJTDrRaxwxBoJiOookg";
    vec![
        ("JPEG", jpeg),
        ("PNG", png),
        ("GIF", gif),
        ("BMP", bmp),
        ("PDF", pdf.to_vec()),
        ("AVIF", STANDARD.decode(avif).unwrap()),
    ]
}

#[tokio::test]
async fn thumbnails_of_pictures_are_made_behind_the_walls() {
    let stand = Stand::new(|_| {});
    for (name, picture) in pictures() {
        for side in [100, 400, 800] {
            let order = Order { side };
            let made = async |picture: &[u8]| {
                let mut source = source(picture);
                stand.seat().await.render(order, &mut source).await
            };
            let thumbnail = made(&picture).await;
            let thumbnail = thumbnail.unwrap_or_else(|error| panic!("{name} at {side}: {error}"));
            // A thumbnail is a picture, too: here is one of WebP.
            assert_eq!(
                made(&thumbnail.bytes).await.unwrap().format.of_thumbnail(),
                thumbnail.format
            );
        }
    }
    assert_eq!(stand.metrics.render_workers.get(), 1, "all by one worker");
}
