//! The page: one file, without a network, for all readers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fleet;

/// Makes a page over two runs.
fn page(folder: &Path) -> PathBuf {
    fleet(&folder.join("before"), &["12", "2e6", "1"]);
    fleet(&folder.join("after"), &["12", "2e6", "2"]);
    let page = folder.join("page.html");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-report"));
    command.arg(folder.join("before/logs"));
    command.arg("--versus").arg(folder.join("after/logs"));
    command
        .arg("--html")
        .arg(&page)
        .args(["--title", "Tea & <cold> starts"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    page
}

#[test]
fn a_page_needs_nothing_else_and_is_readable_without_its_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(page(folder.path())).unwrap();
    let without = text.replace("http://www.w3.org/2000/svg", "");
    for other in ["http:", "https:", "<script", "@import", "url(", "src="] {
        assert!(!without.contains(other), "{other}");
    }
    assert!(text.contains("<title>Tea &amp; &lt;cold&gt; starts</title>"));
    assert!(text.contains("default-src 'none'"));
    let count = |part: &str| text.matches(part).count();
    // Each picture has a title and a description, and its section a table.
    let pictures = count("<svg ");
    assert!(10 < pictures, "{pictures}");
    assert_eq!(count("<desc "), pictures);
    assert_eq!(count("<figcaption>"), pictures);
    assert_eq!(count("<section "), count("<table>"));
    assert_eq!(count("<caption>"), count("<table>"));
    assert_eq!(count("<h1>"), 1);
    assert_eq!(count("<h2 "), count("<section "));
    let mut ids: Vec<&str> = text.split(" id=\"").skip(1).collect();
    ids.iter_mut()
        .for_each(|id| *id = id.split('"').next().unwrap());
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id stands twice");
}

#[test]
fn two_runs_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(page(folder.path())).unwrap();
    for part in [
        "<p class=\"run\">Totals, before</p>",
        "<p class=\"run\">Totals, after</p>",
        "Starts, by kind and cause, before</h2>",
        "Starts, by kind and cause, after</h2>",
    ] {
        assert_eq!(text.matches(part).count(), 1, "{part}");
    }
}

/// Chromium without a window, in a colour scheme (0 is dark) and with a width of the page.
fn chromium(folder: &Path, scheme: u8, width: u32) -> Command {
    let mut command = Command::new("chromium");
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu"]);
    command.arg(format!("--blink-settings=preferredColorScheme={scheme}"));
    command.arg(format!("--window-size={width},4000"));
    command.arg(format!("--user-data-dir={}", folder.join("user").display()));
    command
}

/// The lines that a page writes to the console of a browser, and the requests that it makes.
fn browse(page: &Path, scheme: u8, width: u32) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("page.png");
    let network = folder.path().join("network.json");
    let mut command = chromium(folder.path(), scheme, width);
    command.arg("--enable-logging=stderr");
    command.arg(format!("--log-net-log={}", network.display()));
    command.arg(format!("--screenshot={}", picture.display()));
    command.arg(format!("file://{}", page.display()));
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(picture.exists(), "{log}");
    // The browser's own requests have no origin; the ones of a file have the opaque one.
    let network = fs::read_to_string(&network).unwrap();
    let asked = network.matches("\"initiator\":\"null\"").count();
    (log.matches(":CONSOLE").count(), asked)
}

#[test]
#[ignore = "needs chromium, which .ci/run installs"]
fn a_browser_has_no_complaint_and_is_asked_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path());
    for (scheme, width) in [(1, 1_100), (0, 400)] {
        assert_eq!(browse(&page, scheme, width), (0, 0));
    }
    // A page that does both is seen to.
    let other = folder.path().join("other.html");
    let image = "<img src=\"http://127.0.0.1:9/x.png\">";
    fs::write(&other, format!("{image}<script>console.error(1)</script>")).unwrap();
    let (lines, asked) = browse(&other, 1, 400);
    assert!(0 < lines && 0 < asked, "{lines} {asked}");
}

/// The rules of axe-core that a page breaks, each with the element that does.
fn accessibility(text: &str, scheme: u8) -> Vec<String> {
    let engine = std::env::var_os("BANTAM_PEERS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers"),
        PathBuf::from,
    );
    let engine = fs::read_to_string(engine.join("axe.min.js")).unwrap();
    // The policy of the page allows no script.
    let (before, policy) = text
        .split_once("<meta http-equiv=\"Content-Security-Policy\"")
        .unwrap();
    let (_, after) = policy.split_once('>').unwrap();
    let run = "axe.run().then(found => { document.title = 'checked'; \
               document.body.textContent = found.violations.flatMap(rule => rule.nodes.map(node => \
               `axe ${rule.id}: ${node.target}`)).join('\\n'); })";
    let scripts = format!("<script>{engine}</script><script>{run}</script></body>");
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    fs::write(
        &page,
        format!("{before}{}", after.replace("</body>", &scripts)),
    )
    .unwrap();
    let mut command = chromium(folder.path(), scheme, 1_100);
    // Virtual time stands still while the engine works.
    command.args(["--dump-dom", "--virtual-time-budget=60000"]);
    let output = command
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("<title>checked</title>"), "{told}");
    let broken = told.lines().filter_map(|line| line.split_once("axe "));
    broken.map(|(_, rule)| rule.to_owned()).collect()
}

#[test]
#[ignore = "needs chromium and .ci/peers"]
fn an_accessibility_engine_finds_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(page(folder.path())).unwrap();
    for scheme in [0, 1] {
        assert_eq!(accessibility(&text, scheme), Vec::<String>::new());
    }
    // A picture without a text is found, and a grey that is too light.
    let faults = "<img src=\"data:,\"><p style=\"color:#ccc;background:#fff\">text</p></main>";
    let broken = accessibility(&text.replace("</main>", faults), 1);
    let rules: Vec<&str> = broken
        .iter()
        .map(|told| told.split(':').next().unwrap())
        .collect();
    assert_eq!(rules, ["color-contrast", "image-alt"], "{broken:?}");
}
