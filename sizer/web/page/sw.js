// Keeps the site for use without a network. What it keeps is told when the site is made.
const SITE = /* SITE */ null;
const CACHE = `sizer-${SITE?.version}`;

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll([...SITE.files, ...SITE.beyond]);
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith("sizer-") && name !== CACHE) await caches.delete(name);
    await self.clients.claim();
  })());
});

// Kept files are answered from the cache, a stored answer is kept once it was fetched, the rest goes to the network.
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const own = url.origin === location.origin && url.pathname.startsWith(new URL("./", location.href).pathname);
  if (request.method !== "GET" || (!own && !SITE.beyond.includes(request.url))) return;
  event.respondWith((async () => {
    const cache = await caches.open(CACHE);
    const kept = await cache.match(request.mode === "navigate" ? "./" : request, { ignoreSearch: true });
    if (kept) return kept;
    const fresh = await fetch(request);
    if (fresh.ok && own && url.pathname.includes("/answers/")) await cache.put(request, fresh.clone());
    return fresh;
  })());
});
