//! The screen of a plan, by a clock of the tests.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{How, Steps};
use crate::ui::screen::row::Row;

const TITLES: [&str; 5] = [
    "load web:1.4.3 (sha256:d8084afc0a37) from image.tar",
    "create container web.balehook-new from web:1.4.3 (sha256:d8084afc0a37)",
    "docker stop --time 10 web",
    "check health of web: GET /healthz answers 2xx or 3xx, its HEALTHCHECK passes where it has one, asked every 100ms, within 30s",
    "save release web: web:1.4.3 (sha256:d8084afc0a37) of manual",
];

struct Clock(Instant);

impl Clock {
    fn after(&self, milliseconds: u64) -> Instant {
        self.0 + Duration::from_millis(milliseconds)
    }
}

fn begun() -> (Clock, Steps) {
    let clock = Clock(Instant::now());
    let steps = Steps::new(TITLES.map(str::to_owned).to_vec(), clock.0);
    (clock, steps)
}

fn drawn(rows: Vec<Row>, width: usize) -> String {
    rows.into_iter().map(|row| row.drawn(width).text(false).trim_end().to_owned() + "\n").collect()
}

/// An image that is loaded, as in the first step.
fn loading() -> (Clock, Steps, usize) {
    let (clock, mut steps) = begun();
    steps.begins(1, TITLES[0].into(), clock.after(0));
    let transfer = steps.transfers("load web:1.4.3".into(), Some(40_100_000), clock.after(200));
    steps.transferred(transfer, 12_300_000);
    (clock, steps, transfer)
}

#[test]
fn what_is_done_stays_with_its_time_and_below_it_is_what_runs_with_its_transfer_and_what_is_to_come() {
    let (clock, mut steps, transfer) = loading();
    assert_eq!(
        drawn(steps.rows(clock.after(1700), 79, 23), 79),
        "\
⠧ load web:1.4.3 (sha256:d8084afc0a37) from image.tar                     1.7 s
    load web:1.4.3  ━━━─────────   30 %  12.3 MB of 40.1 MB  8.2 MB/s  4 s left
· create container web.balehook-new from web:1.4.3 (sha256:d8084afc0a37)
· docker stop --time 10 web
· check health of web: GET /healthz answers 2xx or 3xx, its HEALTHCHECK passes…
· save release web: web:1.4.3 (sha256:d8084afc0a37) of manual
  0 of 5 done, 1.7 s
"
    );
    steps.transferred(transfer, 40_100_000);
    steps.transfer_ends(transfer, true, clock.after(4200));
    let ended = steps.begins(2, TITLES[1].into(), clock.after(4400));
    assert_eq!(
        drawn(ended, 79),
        "\
✓ load web:1.4.3 (sha256:d8084afc0a37) from image.tar                     4.4 s
    load web:1.4.3: 40.1 MB at 10.0 MB/s                                    4 s
"
    );
    assert_eq!(steps.ends(How::Done, clock.after(4500)).len(), 1);
    assert_eq!(steps.ends(How::Done, clock.after(4500)).len(), 0, "it ends once");
}

#[test]
fn the_golden_picture_in_the_book_is_what_is_drawn() {
    let (clock, mut steps) = begun();
    let mut shown = Vec::new();
    steps.begins(1, TITLES[0].into(), clock.after(0));
    let transfer = steps.transfers("load web:1.4.3".into(), Some(40_100_000), clock.after(200));
    steps.transferred(transfer, 40_100_000);
    steps.transfer_ends(transfer, true, clock.after(4200));
    shown.extend(steps.begins(2, TITLES[1].into(), clock.after(4400)));
    shown.extend(steps.begins(3, TITLES[2].into(), clock.after(4500)));
    shown.extend(steps.begins(4, TITLES[3].into(), clock.after(4800)));
    shown.extend(steps.rows(clock.after(6300), 99, 23));
    let (loading_clock, loading, _) = loading();
    let head = "What run shows on a terminal: first while an image is loaded, then while the new container is checked\nterminal\n";
    let first = drawn(loading.rows(loading_clock.after(1700), 99, 23), 99);
    let typed = "$ sudo balehook run ApplicationStart\nbalehook 0.1.0 ApplicationStart web (deployment manual)";
    let picture = format!("{head}{typed}\n{first}\n{}", drawn(shown, 99));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pictures/screen.txt");
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(path, &picture).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), picture, "make golden pictures");
}

#[test]
fn on_a_narrow_terminal_bars_and_figures_are_left_out_before_names_and_on_a_wide_one_times_stay_near() {
    let (clock, steps, _) = loading();
    assert_eq!(
        drawn(steps.rows(clock.after(1700), 39, 6), 39),
        "\
⠧ load web:1.4.3 (sha256:d8084af… 1.7 s
    load web:1.4.3  ━━━─────────   30 %
· create container web.balehook-new fr…
· docker stop --time 10 web
  … 2 more; 0 of 5 done, 1.7 s
"
    );
    let wide = drawn(steps.rows(clock.after(1700), 199, 23), 199);
    assert!(wide.lines().all(|line| line.chars().count() <= 100), "{wide}");
    assert!(wide.contains("load web:1.4.3  ━━━━━━━━━─────────────────────   30 %"), "{wide}");
}

#[test]
fn a_failure_ends_what_was_to_come_and_the_steps_that_undo_it_are_shown_as_such() {
    let (clock, mut steps) = begun();
    steps.begins(4, TITLES[3].into(), clock.after(0));
    steps.warns();
    let failed = steps.fails(4, clock.after(3100));
    assert_eq!(drawn(failed, 79), "✗ check health of web: GET /healthz answers 2xx or 3xx, its HEALTHCHECK … 3.1 s\n");
    assert_eq!(steps.rows(clock.after(3100), 79, 23), []);
    steps.undoes("docker start web".into(), clock.after(3200));
    assert_eq!(drawn(steps.rows(clock.after(3300), 40, 23), 40), "⠸ undo: docker start web           0.1 s\n");
    let ended = steps.undoes("docker rm web.balehook-new".into(), clock.after(3400));
    assert_eq!(drawn(ended, 40), "✓ undo: docker start web           0.2 s\n");
    assert_eq!(drawn(steps.fails(0, clock.after(3500)), 40), "✗ undo: docker rm web.balehook-new 0.1 s\n");
}

#[test]
fn a_step_that_failed_without_ending_the_plan_is_marked_and_one_that_could_not_begin_is_named() {
    let (clock, mut steps) = begun();
    steps.begins(1, TITLES[0].into(), clock.after(0));
    steps.warns();
    let ended = steps.begins(2, TITLES[1].into(), clock.after(100));
    assert!(drawn(ended, 79).starts_with("! load web:1.4.3 "));
    let failed = drawn(steps.fails(3, clock.after(200)), 79);
    let marks: Vec<&str> = failed.lines().filter_map(|line| line.get(..line.find(' ')?)).collect();
    assert_eq!(marks, ["✓", "✗"], "{failed}");
    assert!(failed.contains("✗ docker stop --time 10 web"), "{failed}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_row_is_wider_than_the_terminal_and_there_are_no_more_of_them_than_it_has(
        titles in prop::collection::vec("\\PC{0,120}", 0..20),
        label in "\\PC{0,60}",
        (width, height) in (1_usize..240, 1_usize..40),
        (seen, total) in (any::<u64>(), prop::option::of(any::<u64>())),
        (time, number) in (0_u64..100_000_000, 1_usize..20),
    ) {
        let clock = Clock(Instant::now());
        let mut steps = Steps::new(titles.clone(), clock.0);
        let title = titles.first().cloned().unwrap_or_default();
        let mut stays = steps.begins(number, title.clone(), clock.0);
        let transfer = steps.transfers(label, total, clock.0);
        steps.transferred(transfer, seen);
        let rows = steps.rows(clock.after(time), width, height);
        prop_assert!(rows.len() <= height, "{} rows", rows.len());
        steps.transfer_ends(transfer, true, clock.after(time));
        stays.extend(steps.undoes(title, clock.after(time)));
        stays.extend(steps.fails(number + 1, clock.after(time)));
        for row in rows.into_iter().chain(stays.into_iter().map(|row| row.drawn(width))) {
            prop_assert!(row.width() <= width, "{} of {width}: {:?}", row.width(), row.text(false));
            prop_assert!(console::measure_text_width(&row.text(false)) <= width);
        }
    }
}
