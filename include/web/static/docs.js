// Starts Swagger UI. Requests go out with the cookie of whoever is signed in.
window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  validatorUrl: null,
  persistAuthorization: false,
});
