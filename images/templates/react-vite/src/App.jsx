import { useState } from "react";

export function App() {
  const [count, setCount] = useState(0);
  return <button onClick={() => setCount(count + 1)}>Hello from a sandbox: {count}</button>;
}
