// Opens pages in Chromium and tells, as JSON, what a person would have met.
// BASE is the server, PAGES the paths, CHROMIUM the program; SHOTS is a folder
// for screenshots, or empty.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const { BASE, PAGES, CHROMIUM, SHOTS } = process.env;
const sizes = {
  desktop: { width: 1440, height: 900 }, laptop: { width: 1100, height: 800 }, half: { width: 960, height: 900 },
  tablet: { width: 768, height: 1024 }, phone: { width: 390, height: 844 },
};

// measure runs in the page. Contrast is that of WCAG 2: 1 to 21.
function measure() {
  const rgba = (color) => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
  const luminance = (color) => {
    const [r, g, b] = color.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const probe = document.createElement("div");
  probe.style.backgroundColor = "Canvas"; // What is below all, light or dark.
  document.body.append(probe);
  const canvas = rgba(getComputedStyle(probe).backgroundColor);
  probe.remove();
  const background = (e) => (e ? over(rgba(getComputedStyle(e).backgroundColor), background(e.parentElement)) : canvas);
  const opacity = (e) => (e ? Number(getComputedStyle(e).opacity) * opacity(e.parentElement) : 1);
  let worst = { contrast: 21, text: "" };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility() || e.closest("option, style")) continue;
    const below = background(e);
    const [r, g, bl, alpha] = rgba(getComputedStyle(e).color);
    const [a, b] = [luminance(over([r, g, bl, alpha * opacity(e)], below)), luminance(below)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < worst.contrast) worst = { contrast, text: node.data.trim() };
  }
  return {
    title: document.title,
    tags: [...document.querySelectorAll("a.tag")].map((e) => e.textContent),
    rows: [...document.querySelectorAll("table.tokens tbody tr")].map((e) => e.getBoundingClientRect().height),
    sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    brightness: luminance(background(document.body)),
    ...worst,
  };
}

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
const seen = [];
for (const [size, viewport] of Object.entries(sizes)) {
  for (const scheme of ["light", "dark"]) {
    const context = await browser.newContext({ viewport, colorScheme: scheme });
    // Only the server under test is asked.
    await context.route((url) => !url.href.startsWith(BASE), (route) => route.abort());
    for (const path of JSON.parse(PAGES)) {
      const page = await context.newPage();
      const complaints = [];
      page.on("dialog", (d) => { complaints.push(`dialog: ${d.message()}`); d.dismiss(); });
      page.on("console", (m) => complaints.push(`console: ${m.text()}`));
      page.on("pageerror", (e) => complaints.push(`error: ${e.message}`));
      const response = await page.goto(BASE + path);
      // evaluate is not held back by the page's policy; eval in it would be.
      const measured = await page.evaluate(measure);
      if (SHOTS) await page.screenshot({ path: join(SHOTS, `${path.replace(/\W+/g, "_").slice(0, 60)}-${size}-${scheme}.png`) });
      let findings = [];
      if (size === "desktop" || size === "phone") {
        await page.evaluate(axe);
        // Only who asks for it gets a page that reloads itself.
        findings = await page.evaluate(async () => (await window.axe.run({ rules: { "meta-refresh": { enabled: false } } })).violations
          .map((v) => `${v.impact}: ${v.id}: ${v.help}: ${v.nodes[0].html.slice(0, 200)}`));
      }
      seen.push({ path, size, scheme, status: response.status(), complaints, findings, ...measured });
      await page.close();
    }
  }
}
await browser.close();
console.log(JSON.stringify(seen));
