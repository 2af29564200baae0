let asked = 0;

export const dynamic = "force-dynamic";

// How often this process was asked, so that who asks sees whether it is the one that was asked before.
export function GET() {
  asked += 1;
  return Response.json({ ok: true, asked, pid: process.pid });
}
