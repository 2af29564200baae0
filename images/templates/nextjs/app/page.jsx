import { Counter } from "./counter.jsx";

export default function Page() {
  return (
    <main>
      <h1>Hello from a sandbox</h1>
      <Counter />
    </main>
  );
}
